"""The filter finds what was put wrong on purpose; folds, shares and rotations are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules.errors import InputError
from datamodules.objects.studio import view_projection
from datamodules.renders.annotation import focal_length
from lit.posing.consistency import Training, exchanged, folds_of, held_out_losses, kept_by, success_rates
from lit.proxies.pose_estimator import PoseEstimator, bins_of, centres_of, rotations_of


def tiny() -> PoseEstimator:
    return PoseEstimator(
        "resnet10t", "none", {"channels": (8, 16, 16, 16), "stem_width": 8}, stride=8, pool=4, bins=12, size=32, lr=0.05
    )


def arrows(azimuth: np.ndarray) -> torch.Tensor:
    """Pictures (N, 3, 32, 32) of a line from the middle towards each azimuth, degrees."""
    import cv2

    found = np.zeros((len(azimuth), 32, 32, 3), np.uint8)
    for picture, angle in zip(found, np.deg2rad(azimuth)):
        end = (int(16 + 13 * np.cos(angle)), int(16 + 13 * np.sin(angle)))
        cv2.line(picture, (16, 16), end, (255, 200, 90), 3)
    return torch.from_numpy(found.transpose(0, 3, 1, 2).copy())


def test_images_in_another_pose_than_annotated_are_dropped() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 360, 160)
    stated = true.copy()
    wrong = rng.permutation(160)[:40]
    stated[wrong] = (true[wrong] + rng.uniform(90, 270, 40)) % 360
    angles = np.zeros((160, 3), np.float32)
    angles[:, 0] = stated
    classes = ["car"] * 160
    images = arrows(true)
    losses, errors = held_out_losses(
        tiny, images, torch.from_numpy(angles), folds_of(classes, 2, 0), Training(14, 16, 0, "cpu")
    )
    kept = kept_by(losses, classes, 0.25)
    apart = np.abs((stated - true + 180) % 360 - 180)
    rates = success_rates(np.deg2rad(apart), kept)
    assert rates["all"] == pytest.approx(0.75)
    assert rates["kept"] is not None and rates["kept"] > 0.85  # noqa: PT018
    assert rates["dropped"] is not None and rates["dropped"] < 0.5  # noqa: PT018
    assert (errors >= 0).all()


def test_a_share_of_each_class_goes_round_among_its_own() -> None:
    classes = ["car"] * 10 + ["van"] * 6
    places = exchanged(classes, 0.4, seed=3)
    assert sorted(places) == list(range(16))
    assert (places[:10] < 10).all()
    moved = places != np.arange(16)
    assert (moved[:10].sum(), moved[10:].sum()) == (4, 2)
    assert np.array_equal(exchanged(classes, 0.0, seed=3), np.arange(16))
    with pytest.raises(InputError, match="less than two of the 6 images of van"):
        exchanged(classes, 0.2, seed=3)


@given(sizes=st.lists(st.integers(5, 40), min_size=1, max_size=3), folds=st.integers(2, 5), seed=st.integers(0, 9))
def test_folds_are_even_in_each_class(sizes: list[int], folds: int, seed: int) -> None:
    classes = [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]
    found = folds_of(classes, folds, seed)
    for number, size in enumerate(sizes):
        counts = np.bincount(found[np.array(classes) == f"c{number}"], minlength=folds)
        assert counts.sum() == size
        assert np.ptp(counts) <= 1


def test_each_class_loses_its_share() -> None:
    losses = np.array([1.0, 9, 2, 8, 0.1, 0.2, 0.3, 0.4])
    kept = kept_by(losses, ["a"] * 4 + ["b"] * 4, 0.5)
    assert kept.tolist() == [True, False, True, False, True, True, False, False]
    assert kept_by(losses, ["a"] * 8, 0.0).all()
    with pytest.raises(InputError, match=r"drop 1: expected a share in \[0, 1\)"):
        kept_by(losses, ["a"] * 8, 1.0)
    with pytest.raises(InputError, match="lower its learning rate"):
        kept_by(np.array([np.nan]), ["a"])
    with pytest.raises(InputError, match="class a has 3 images; lower folds"):
        folds_of(["a"] * 3, 5, 0)


@given(azimuth=st.floats(0, 359.9), elevation=st.floats(-80, 80), roll=st.floats(-179, 179), bins=st.integers(2, 60))
def test_bins_go_round_and_their_middles_are_near(azimuth: float, elevation: float, roll: float, bins: int) -> None:
    angles = torch.tensor([[azimuth, elevation, roll]])
    cells = bins_of(angles, bins)
    torch.testing.assert_close(bins_of(angles + torch.tensor([[360.0, 0, 360]]), bins), cells)
    middle = centres_of(cells, bins)
    width = torch.tensor([[360.0, 180, 360]]) / bins
    assert ((middle - angles).abs() <= width / 2 + 1e-3).all()


@given(azimuth=st.floats(0, 360), elevation=st.floats(-80, 80))
def test_rotations_are_the_studios(azimuth: float, elevation: float) -> None:
    dims = np.array([4.0, 1.5, 1.8])
    projection = view_projection(dims, azimuth, elevation, 64, 10.0, 2 * np.arctan(16 / 35))
    focal = focal_length(64)
    intrinsics = np.array([[focal, 0, 31.5], [0, focal, 31.5], [0, 0, 1]])
    expected = np.linalg.solve(intrinsics, projection)[:, :3] / (dims / 2)
    found = rotations_of(torch.tensor([[azimuth, elevation, 0.0]], dtype=torch.float64))[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_fold_may_be_of_one_image() -> None:
    """Five images in five folds, the filter's usual number."""
    images, angles = arrows(np.arange(4) * 90.0), torch.zeros(4, 3)
    folds = folds_of(["car"] * 4, 4, 0)
    losses, errors = held_out_losses(tiny, images, angles, folds, Training(1, 4, 0, "cpu"))
    assert (losses > 0).all()
    assert errors.shape == (4,)
