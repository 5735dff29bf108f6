"""Arrays of any origin: their header is held against what the file holds before anything is made."""

from __future__ import annotations

import io

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.files.arrays import read_array


def encoded(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["f4", ">f8", "u1", "?", "i2"])
def test_numbers_come_back(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    for each in (array, np.asfortranarray(array), array[:0]):
        found = read_array(encoded(each), "a")
        np.testing.assert_array_equal(found, each)
        assert found.dtype == each.dtype


def test_what_cannot_be_is_one_line() -> None:
    whole = encoded(np.zeros((3, 4)))
    cases = [
        (whole.replace(b"(3, 4)", b"(9, 9)"), r"states float64 \(9, 9\), 648 bytes, and holds 96"),
        (whole.replace(b"(3, 4), }  ", b"(3<<80, 4), "[:11]), "a"),
        (whole[:-1], "and holds 95"),
        (whole + b"\0", "and holds 97"),
        (whole.replace(b"}", b" "), "no readable array"),
        (whole.replace(b"<f8", b"<c8"), "expected real numbers"),
        (encoded(np.array(["a"])), "expected real numbers"),
        (b"", "no readable array"),
        (b"text", "no readable array"),
    ]
    for content, says in cases:
        with pytest.raises(InputError, match=says) as caught:
            read_array(content, "a")
        assert "\n" not in str(caught.value)
