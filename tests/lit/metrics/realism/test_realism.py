"""Crops, halves and partners, and a network that finds what it can and nothing more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Frame, Objects
from lit.metrics.realism.crops import CROP_SIZE, MAX_RATIO, Crop, crops_of, halves, matched, square
from lit.metrics.realism.scores import area, realism


def crop(frame: str, height: float = 30.0, source: str = "", shade: float = 0.0, seed: int = 0) -> Crop:
    noise = np.random.default_rng([seed, *frame.encode()]).normal(128 + shade, 40, (3, CROP_SIZE, CROP_SIZE))
    return Crop(noise.clip(0, 255).astype(np.uint8), height, frame, source or frame)


def crops(drives: int, each: int, shade: float = 0.0, seed: int = 0) -> list[Crop]:
    return [crop(f"{drive}.{n}", shade=shade, seed=seed) for drive in range(drives) for n in range(each)]


DRIVES = {f"{drive}.{n}": str(drive) for drive in range(20) for n in range(20)}


def labelled(**columns: Any) -> Frame:
    objects = Objects(
        boxes=Boxes3D(np.zeros((4, 3)), np.ones((4, 3)), np.zeros(4)),
        names=np.array(["Car", "Car", "Van", "Car"]),
        bbox=np.array([[10, 10, 50, 40], [60, 10, 90, 20], [10, 10, 50, 40], [100, 20, 140, 60]], float),
        truncation=np.zeros(4),
        occlusion=np.zeros(4, np.int64),
        alpha=np.zeros(4),
        provenance=np.array(["real", "real", "real", "copy-000007-2-flipped"]),
    )
    camera = Camera(np.array([[200.0, 0, 80, 0], [0, 200, 40, 0], [0, 0, 1, 0]]), 160, 80)
    return Frame(np.zeros((3, 80, 160), np.uint8), camera, replace(objects, **columns), "000003")


def test_crops_are_of_the_wanted_class_size_and_origin() -> None:
    real = crops_of(labelled(), False, ["Car"], 20)
    assert [(found.height, found.source) for found in real] == [(30, "000003")]  # too small, a van, injected
    injected = crops_of(labelled(), True, ["Car"], 20)
    assert [(found.height, found.frame, found.source) for found in injected] == [(40, "000003", "000007")]


def test_hidden_and_cut_objects_are_left_out() -> None:
    assert not crops_of(labelled(occlusion=np.array([1, 0, 0, 2])), True, ["Car"], 20)
    assert not crops_of(labelled(truncation=np.array([0.4, 0, 0, 0])), False, ["Car"], 20)


@given(st.floats(8, 60), st.floats(20, 100), st.floats(20, 60))
def test_a_square_is_centred_whatever_its_size(side: float, u: float, v: float) -> None:
    rows, columns = np.mgrid[:80, :120]
    image = np.stack([columns * 2, rows * 2, 0 * rows]).astype(np.uint8)
    found = square(image, np.array([u - side / 2, v - side / 2, u + side / 2, v + side / 2]))
    reach = 0.7 * side + 1 + side / CROP_SIZE * 2
    if reach < u < 119 - reach and reach < v < 79 - reach:  # its border does not go on beyond the image
        assert found[0].mean() / 2 == pytest.approx(u - 0.5 + 0.5, abs=0.8)
        assert found[1].mean() / 2 == pytest.approx(v, abs=0.8)


def test_halves_share_no_drive_and_are_balanced() -> None:
    found = crops(7, 10)
    side = halves(found, DRIVES)
    assert len({(DRIVES[frame], half) for frame, half in side.items()}) == 7
    assert abs(sum(side.values()) - 35) <= 5
    with pytest.raises(InputError, match="1 drives with objects"):
        halves(crops(1, 10), DRIVES)


def test_partners_are_of_one_size_and_used_once() -> None:
    real = [crop(f"r{n}", height) for n, height in enumerate([20, 30, 40, 41, 200])]
    injected = [crop(f"i{n}", height) for n, height in enumerate([21, 40, 40, 40, 90])]
    pairs = matched(real, injected)
    assert len(pairs) == 3
    assert len({id(first) for first, _ in pairs}) == 3
    assert all(max(a.height / b.height, b.height / a.height) <= MAX_RATIO for a, b in pairs)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_area_is_the_share_of_pairs_in_order(real: list[int], injected: list[int]) -> None:
    wins = [(b > a) + 0.5 * (b == a) for a in real for b in injected]
    first, second = np.array(real, float), np.array(injected, float)
    assert area(first, second) == pytest.approx(np.mean(wins))
    assert area(first, second, np.full(len(real) + len(injected), 2)) == pytest.approx(np.mean(wins))


def test_what_differs_is_found_and_what_does_not_is_not() -> None:
    real = crops(8, 12)
    alike = realism(real, crops(8, 12, seed=1), DRIVES, seeds=[0], steps=40)
    assert alike.low <= 0.5 <= alike.high
    assert alike.auc == pytest.approx(0.5, abs=0.15)
    brighter = realism(real, crops(8, 12, shade=25, seed=1), DRIVES, seeds=[0], steps=40)
    assert brighter.auc > 0.95
    assert brighter.low > alike.high
    assert len(brighter.pairs) == 96
    assert brighter.groups == 8


def test_copies_from_the_other_half_do_not_count() -> None:
    real = crops(8, 12)
    side = halves([*real, *real], DRIVES)
    other = {half: next(frame for frame in sorted(side) if side[frame] != half) for half in (0, 1)}
    own = crops(8, 12, seed=1)
    copied = [replace(found, source=other[side[found.frame]]) if n % 2 else found for n, found in enumerate(own)]
    assert realism(real, copied, DRIVES, seeds=[0], steps=1).left_out == 48


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="6 pairs of a real and an injected object of one size in one half"):
        realism(crops(2, 6), crops(2, 6, seed=1), DRIVES)
