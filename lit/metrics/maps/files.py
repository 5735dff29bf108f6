"""Maps on disk (depth, labels, edges), read one after the other: folders, .zip archives, .npz archives, .npy stacks."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from datamodules.errors import InputError

SUFFIXES = (".npy", ".npz", ".png")
FORMS = "a folder or .zip of .npy, .npz or .png maps, an .npz with one map a name, or an .npy stack (N, H, W)"


class MapFiles:
    """Named maps (H, W) that are read when asked for: fifty thousand of them need not fit in memory.

    A name is a file's path below the folder without its suffix; an array's name in an .npz; a row in a stack.

    Args:
        path: see :data:`FORMS`.
        scale: what stored values are divided by (256 for KITTI's 16-bit depth, 1000 for millimetres).

    Raises:
        InputError: nothing there, nothing in it, or two files with one name.
    """

    def __init__(self, path: str | os.PathLike[str], scale: float = 1.0) -> None:
        self.path, self.scale = Path(path), scale
        if not (np.isfinite(scale) and scale > 0):
            raise InputError(f"--scale {scale}: expected a positive number, such as 256 for KITTI's depth")
        if not self.path.exists():
            raise InputError(f"{path}: not found; expected {FORMS}")
        self.readers: dict[str, Callable[[], np.ndarray]] = {}
        self._index()
        if not self.readers:
            raise InputError(f"{path}: holds no maps; expected {FORMS}")

    def __len__(self) -> int:
        return len(self.readers)

    def __contains__(self, name: str) -> bool:
        return name in self.readers

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self.readers)

    def read(self, name: str) -> np.ndarray:
        """One map (H, W), divided by the scale.

        Raises:
            InputError: no map of this name, or one that cannot be read or is not (H, W).
        """
        if name not in self.readers:
            raise InputError(f"{self.path}: no map is named {name}; both sides need the same names")
        try:
            values = self.readers[name]()
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path}: {name} cannot be read ({error}); write it again") from error
        if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):  # one channel, before or behind
            values = values.reshape(values.shape[:2] if values.shape[-1] == 1 else values.shape[1:])
        if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
            found = f"{values.dtype} {values.shape}"
            raise InputError(f"{self.path}: {name} is {found}, expected real numbers (H, W); store one channel")
        if self.scale != 1 or values.dtype.itemsize > 8:  # torch has no longer floats
            return values.astype(np.float64) / self.scale
        return values

    def _index(self) -> None:
        path = self.path
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix.lower() in SUFFIXES and file.is_file():
                    name = file.relative_to(path).with_suffix("").as_posix()
                    self._add(name, partial(_decode_file, file))
        elif path.suffix.lower() == ".zip":
            archive = self._open()
            for entry in sorted(archive.namelist()):
                if PurePosixPath(entry).suffix.lower() in SUFFIXES:
                    name = PurePosixPath(entry).with_suffix("").as_posix()
                    self._add(name, partial(_decode_entry, archive, entry))
        elif path.suffix.lower() == ".npz":
            archive = self._open()
            for entry in archive.namelist():
                self._add(entry.removesuffix(".npy"), partial(_decode_entry, archive, entry))
        elif path.suffix.lower() == ".npy":
            stack = self._stack()
            for row in range(len(stack)):
                self._add(f"{row:06d}", partial(np.array, stack[row]))
        else:
            raise InputError(f"{path}: not a kind of map file; expected {FORMS}")

    def _add(self, name: str, reader: Callable[[], np.ndarray]) -> None:
        if name in self.readers:
            raise InputError(f"{self.path}: two files are named {name}; keep one of them")
        self.readers[name] = reader

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path}: cannot be opened ({error}); write it again") from error

    def _stack(self) -> np.ndarray:
        try:
            stack = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{self.path}: cannot be read ({error}); write it again") from error
        return stack[None] if stack.ndim == 2 else stack


def _decode_file(file: Path) -> np.ndarray:
    return decode(file.name, file.read_bytes())


def _decode_entry(archive: zipfile.ZipFile, entry: str) -> np.ndarray:
    return decode(entry, archive.read(entry))


def decode(name: str, content: bytes) -> np.ndarray:
    """The array in the bytes of a .npy, a .npz with one array, or a .png.

    Raises:
        ValueError: broken content, or an archive with several arrays.
    """
    if name.lower().endswith(".png"):
        import cv2  # only where there are pictures

        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise ValueError("no readable PNG")
        return np.asarray(image)
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    if len(loaded.files) != 1:
        raise ValueError(f"{len(loaded.files)} arrays where one is expected")
    return np.asarray(loaded[loaded.files[0]])
