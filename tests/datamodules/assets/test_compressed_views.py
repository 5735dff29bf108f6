"""Compressed views: nothing is lost, one is read without the others, what is empty or smooth is small."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.assets.compressed_views import CompressedViews


def noise(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Any bits at all, NaN and -0 among the floats."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8).view(dtype).reshape(shape)


@pytest.mark.parametrize(("shape", "dtype"), [((3, 9, 7, 4), np.uint8), ((2, 5, 8), np.float16), ((1, 1, 1), np.uint8)])
def test_every_bit_comes_back(shape: tuple[int, ...], dtype: type) -> None:
    pictures = noise(shape, dtype)
    pictures[0, :2] = pictures[-1, :, -1:] = 0
    views = CompressedViews.of(pictures)
    assert (views.shape, views.ndim, len(views)) == (shape, len(shape), shape[0])
    assert np.asarray(views).tobytes() == pictures.tobytes()
    assert views[0].tobytes() == pictures[0].tobytes()
    assert views[-1].tobytes() == pictures[-1].tobytes()
    assert views[0, -1].tobytes() == pictures[0, -1].tobytes()
    assert views[:, 0].tobytes() == pictures[:, 0].tobytes()


def test_the_same_pictures_give_the_same_bytes_and_empty_ones_hardly_any() -> None:
    pictures = np.zeros((40, 64, 64, 4), np.uint8)
    pictures[:20, 20:44, 8:56] = 200
    views = CompressedViews.of(pictures)
    assert views.data.tobytes() == CompressedViews.of(pictures.copy()).data.tobytes()
    assert len(views.data) < 40 * 100
    assert views.fingerprint != CompressedViews.of(pictures[::-1]).fingerprint
