"""Posed image sets that stay on disk: the same values as in memory, written once, never half."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.objects import mapped_views
from datamodules.objects.mapped_views import FOLDER, MappedViews
from datamodules.objects.object_masks import StudioMasks
from datamodules.objects.posed_images import PosedImageSet, write_object, write_posed_index
from datamodules.objects.posed_rays import draw_rays
from tests.datamodules.objects.foreign_set import foreign_set

OBJECTS, VIEWS, SIZE = 5, 7, 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    ids = [f"car-{number}" for number in range(OBJECTS)]
    for number, name in enumerate(ids):
        arrays: dict[str, np.ndarray] = {
            "rgba": rng.integers(0, 256, (VIEWS, SIZE, SIZE, 4), dtype=np.uint8),
            "projection": rng.normal(size=(VIEWS, 3, 4)) + np.eye(3, 4),
            "parts": rng.integers(0, 4, (VIEWS, SIZE, SIZE), dtype=np.uint8),
        }
        if number != 3:  # one object lacks it, so the set does
            arrays["edges"] = np.zeros((VIEWS, SIZE, SIZE), np.uint8)
        write_object(tmp_path, name, arrays)
    write_posed_index(tmp_path, "Car", SIZE, VIEWS, ids, np.ones((OBJECTS, 3)), "test")
    return foreign_set(tmp_path)


def test_mapped_and_held_sets_say_the_same(folder: Path) -> None:
    held, mapped = PosedImageSet.load(folder), PosedImageSet.load(folder, in_memory=0)
    assert isinstance(mapped.rgba, MappedViews)
    assert isinstance(mapped.rgba.base, np.memmap)
    assert held.edges is None
    assert mapped.edges is None
    for chosen in (slice(None), [4, 0, 2]):
        for views in (slice(1, 6, 2), [6, 0, 3]):
            first, second = held.subset(chosen, views), mapped.subset(chosen, views)
            assert second.ids == first.ids
            assert second.rgba.shape == first.rgba.shape
            assert second.rgba.dtype == first.rgba.dtype
            assert len(second) == len(first)
            assert np.array_equal(np.asarray(second.rgba), first.rgba)
            assert np.array_equal(second.projection, first.projection)
            rows, columns = np.array([[2], [0]]), np.array([[1, 1, 2], [0, 2, 0]])
            for key in (
                1,
                (1, 2),
                (1, 2, ..., 3),
                (1, ..., 3),
                (np.array([2, 0]), 1),
                (rows, columns, columns, 5),
                slice(0, 2),
                (slice(None), slice(0, 2)),
            ):
                assert np.array_equal(second.rgba[key], first.rgba[key]), key


def test_generators_draw_the_same_rays_and_masks(folder: Path) -> None:
    batches = []
    for posed in (PosedImageSet.load(folder), PosedImageSet.load(folder, in_memory=0)):
        train, rng = posed.subset([3, 1, 2], [0, 2, 4, 5]), np.random.default_rng(1)
        objects, views = np.array([2, 0]), np.array([[1, 3], [0, 2]])
        batches.append(
            draw_rays(train.rgba, train.projection, train.parts, objects, views, 16, 2, (0.5, 0.3, 0.2), rng)
        )
    assert all(np.array_equal(a, b) for a, b in zip(vars(batches[0]).values(), vars(batches[1]).values()))
    masks = [StudioMasks(PosedImageSet.load(folder, limit)) for limit in (1 << 30, 0)]
    assert len(masks[0]) == len(masks[1]) == OBJECTS * VIEWS
    pictures = [source.read(17, np.random.default_rng(2))[0] for source in masks]
    assert np.array_equal(pictures[0], pictures[1])


def test_files_are_written_once_and_anew_when_the_set_changes(folder: Path) -> None:
    PosedImageSet.load(folder, in_memory=0)
    (place,) = (folder / FOLDER).iterdir()
    written = (place / "rgba.npy").stat().st_mtime_ns
    PosedImageSet.load(folder, in_memory=0)
    assert (place / "rgba.npy").stat().st_mtime_ns == written
    with np.load(folder / "car-0.npz") as stored:
        arrays = dict(stored)
    write_object(folder, "car-0", {**arrays, "rgba": 255 - arrays["rgba"]})
    os.utime(folder / "car-0.npz", (1, 1))
    changed = PosedImageSet.load(folder, in_memory=0)
    assert np.array_equal(changed.rgba[0], 255 - arrays["rgba"])
    (other,) = (folder / FOLDER).iterdir()
    assert other != place


def test_an_interrupted_or_impossible_unpacking_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "car-4.npz").write_bytes(b"cut short")
    with pytest.raises(InputError, match=r"car-4\.npz: cut short"):
        PosedImageSet.load(folder, in_memory=0)
    assert not list((folder / FOLDER).iterdir())
    (folder / "car-4.npz").unlink()
    with pytest.raises(InputError, match=r"car-4\.npz: not found"):
        PosedImageSet.load(folder, in_memory=0)
    usage = shutil.disk_usage(folder)._replace(free=100)
    monkeypatch.setattr(mapped_views.shutil, "disk_usage", lambda _: usage)
    shutil.copy(folder / "car-0.npz", folder / "car-4.npz")
    with pytest.raises(InputError, match="make room"):
        PosedImageSet.load(folder, in_memory=0)
    assert not list((folder / FOLDER).iterdir())


def test_damaged_arrays_are_unpacked_anew(folder: Path) -> None:
    held, whole = PosedImageSet.load(folder), PosedImageSet.load(folder, in_memory=0)
    assert isinstance(whole.rgba, MappedViews)
    (place,) = (path for path in (folder / FOLDER).iterdir() if path.is_dir())
    bytes_ = (place / "rgba.npy").read_bytes()
    for name, damaged in (("rgba", b""), ("rgba", bytes_[:-5]), ("rgba", b"words"), ("projection", None)):
        if damaged is None:
            (place / f"{name}.npy").unlink()
        else:
            (place / f"{name}.npy").write_bytes(damaged)
        with pytest.warns(UserWarning, match=f"{name}.npy.*unpacked anew"):
            mapped = PosedImageSet.load(folder, in_memory=0)
        assert np.array_equal(np.asarray(mapped.rgba), held.rgba)
        assert np.array_equal(mapped.projection, held.projection)
