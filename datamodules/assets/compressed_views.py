"""Pictures compressed without loss: of each the rectangle that is not empty, as differences along its rows.

Views of an object are mostly empty around it, and smooth on it. A picture is therefore cut to the bounding box of what
is not zero; its values, read as unsigned integers of their size (float16 too: nothing is rounded), are replaced by the
difference to the left neighbour; the differences' bytes, sorted by channel and significance, are deflated. A table says
where each picture lies, so that one is read without the others, and holds the hash of what must come out. Posed views
of 512 pixels with depth take 37 to 100 KB instead of 1,573 KB and come back in 2 ms.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import numpy as np

from datamodules.errors import InputError

# Of one picture: its bytes in the file, the rectangle that is not empty, and the hash of that rectangle's values.
TABLE = np.dtype(
    [("offset", "<i8"), ("bytes", "<i8"), *((key, "<i4") for key in ("left", "top", "width", "height")),
     ("sha256", "u1", 32)]
)  # fmt: skip


class CompressedViews:
    """An array (V, H, W) or (V, H, W, C) that is decompressed where it is looked at; it reads like a NumPy array.

    Args:
        data: the file's bytes, usually mapped into memory.
        table: (V,) of :data:`TABLE`.
        shape: of the array.
        dtype: of its values.
        name: of the file, for messages.
    """

    def __init__(
        self, data: np.ndarray, table: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any], name: str
    ) -> None:
        self.data, self.table, self.shape, self.dtype, self.name = data, table, shape, dtype, name
        self.ndim = len(shape)

    @staticmethod
    def of(pictures: np.ndarray) -> CompressedViews:
        """Compress (V, H, W) or (V, H, W, C) pictures."""
        table, parts, offset = np.zeros(len(pictures), TABLE), [], 0
        for view, picture in enumerate(pictures):
            values = _integers(picture)
            filled = np.asarray(values.any(-1))
            ys, xs = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
            top, bottom, left, right = (ys[0], ys[-1] + 1, xs[0], xs[-1] + 1) if len(ys) else (0, 0, 0, 0)
            inside = np.ascontiguousarray(values[top:bottom, left:right].transpose(2, 0, 1))  # C h w
            steps = np.diff(inside, axis=2, prepend=inside.dtype.type(0))
            planes = steps.view(np.uint8).reshape(*steps.shape, steps.itemsize).transpose(0, 3, 1, 2)  # C, bytes, h w
            deflate = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
            parts.append(deflate.compress(planes.tobytes()) + deflate.flush())
            digest = np.frombuffer(hashlib.sha256(inside.tobytes()).digest(), np.uint8)
            table[view] = (offset, len(parts[-1]), left, top, right - left, bottom - top, digest)
            offset += len(parts[-1])
        data = np.frombuffer(b"".join(parts), np.uint8)
        return CompressedViews(data, table, pictures.shape, pictures.dtype, "views in memory")

    @property
    def fingerprint(self) -> bytes:
        """What the table says of the pictures themselves: the same however they were compressed."""
        return b"".join(np.ascontiguousarray(self.table[key]).tobytes() for key in TABLE.names[2:])  # type: ignore[index]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, int | np.integer):
            return self._picture(int(key))
        return np.asarray(np.asarray(self)[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.stack([self._picture(view) for view in range(len(self))])
        return whole if dtype is None else whole.astype(dtype)

    def _picture(self, view: int) -> np.ndarray:
        """One picture (H, W) or (H, W, C).

        Raises:
            InputError: its bytes are not those that were written.
        """
        row, picture = self.table[view], np.zeros(self.shape[1:], self.dtype)
        values = _integers(picture)
        offset, count, left, top, width, height = (int(row[key]) for key in TABLE.names[:6])  # type: ignore[index]
        target = values[top : top + height, left : left + width].transpose(2, 0, 1)
        inflate = zlib.decompressobj()
        try:
            within = min(offset, count, left, top) >= 0 and offset + count <= len(self.data)
            if not within or target.shape[1:] != (height, width):
                raise ValueError("its table points outside")
            planes = inflate.decompress(self.data[offset : offset + count].tobytes(), target.nbytes + 1)
            if not inflate.eof or inflate.unused_data:
                raise ValueError("its end is not where the table says")
            steps = np.frombuffer(planes, np.uint8).reshape(target.shape[0], values.itemsize, height, width)
            inside = np.ascontiguousarray(steps.transpose(0, 2, 3, 1)).view(values.dtype)[..., 0]
        except (zlib.error, ValueError) as error:
            raise InputError(f"{self.name}: view {view} is damaged ({error}); copy the bank again") from None
        inside = np.add.accumulate(inside, axis=2, dtype=inside.dtype)
        if hashlib.sha256(inside.tobytes()).digest() != row["sha256"].tobytes():
            raise InputError(f"{self.name}: view {view} differs from its recorded sha256; copy the bank again")
        target[...] = inside
        return picture


def _integers(picture: np.ndarray) -> np.ndarray:
    """(H, W, C) view of a contiguous picture as unsigned integers."""
    values = np.ascontiguousarray(picture).view(f"<u{picture.itemsize}")
    return values.reshape(*picture.shape[:2], -1)
