"""Square windows: as much room as was asked for, the same pixels back, edges of what is opaque."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.renders.crops.square_window import SquareWindow, edges_on_white, sized


def test_a_window_is_square_about_the_middle() -> None:
    window = SquareWindow.around(np.array([10.0, 20.0, 49.0, 29.0]))  # 40 x 10 pixels
    assert window.side == 50
    assert (window.left, window.top) == (5, 0)
    assert SquareWindow.around(np.array([3.0, 3.0, 4.0, 4.0])).side == 8


def test_a_picture_goes_on_beyond_its_border() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cut = SquareWindow(-1, -1, 3).cut(picture)
    np.testing.assert_array_equal(cut, [[0, 0, 1], [0, 0, 1], [4, 4, 5]])


@pytest.mark.parametrize(("left", "top"), [(4, 5), (-3, 0), (12, 9), (40, 40)])
def test_what_is_put_into_a_window_comes_back(left: int, top: int) -> None:
    window, part = SquareWindow(2, 3, 12), np.arange(1, 49, dtype=np.int64).reshape(6, 8)
    held = window.holding(part, left, top)
    assert held.shape == (12, 12)
    back = window.part(held, part.shape, left, top)
    within = back > 0
    np.testing.assert_array_equal(back[within], part[within])
    columns, rows = np.arange(left, left + 8), np.arange(top, top + 6)
    expected = ((columns >= 2) & (columns < 14))[None] & ((rows >= 3) & (rows < 15))[:, None]
    np.testing.assert_array_equal(within, expected)


def test_sizes_keep_their_place() -> None:
    """A bright spot stands at the same share of the square, whatever the square's size."""
    square = np.zeros((20, 20), np.float32)
    square[4:6, 12:14] = 1.0
    for size in (10, 20, 64):
        found = sized(square, size)
        weight = found / found.sum()
        middle = (np.arange(size) + 0.5) / size
        assert (weight.sum(1) @ middle, weight.sum(0) @ middle) == pytest.approx((5 / 20, 13 / 20), abs=1e-3)


def test_edges_are_those_of_the_object_on_white() -> None:
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[8:24, 8:24] = (20, 20, 20, 255)
    edges = edges_on_white(rgba) > 0
    assert edges[8:24, 7:9].any()
    assert not edges[11:21, 11:21].any()
    assert not edges[:5].any()
