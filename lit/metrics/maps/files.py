"""Maps on disk (depth, labels, edges), read one after the other: folders, .zip archives, .npz archives, .npy stacks."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from datamodules.errors import InputError
from datamodules.files.archives import DAMAGE, MOST_BYTES, open_archive, read_entry, reason
from datamodules.files.arrays import read_array, read_header
from datamodules.image_bytes import image_facts
from datamodules.images import decoder_complaint

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
        self.left_out = 0  # files of other kinds beside the maps
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
        except InputError as error:
            raise InputError(f"{self.path}: {name} cannot be read ({error})") from error
        except DAMAGE as error:
            raise InputError(f"{self.path}: {name} cannot be read ({reason(error)}); write it again") from error
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
                if file.is_dir() or file.name.startswith("."):
                    continue
                if file.suffix.lower() in SUFFIXES and file.is_file():
                    name = file.relative_to(path).with_suffix("").as_posix()
                    self._add(name, partial(_decode_file, file))
                else:
                    self.left_out += 1
        elif path.suffix.lower() == ".zip":
            archive = open_archive(path, FORMS)
            for entry in sorted(archive.namelist()):
                if PurePosixPath(entry).suffix.lower() in SUFFIXES:
                    name = PurePosixPath(entry).with_suffix("").as_posix()
                    self._add(name, partial(_decode_entry, archive, entry))
                else:
                    self.left_out += not entry.endswith("/")
        elif path.suffix.lower() == ".npz":
            archive = open_archive(path, FORMS)
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

    def _stack(self) -> np.ndarray:
        """A stack, mapped into memory; its header has to state what the file holds."""
        where = str(self.path)
        try:
            with self.path.open("rb") as file:
                shape, fortran, dtype = read_header(file, where)
                offset = file.tell()
        except OSError as error:
            raise InputError(f"{where}: cannot be read ({reason(error)}); write it again") from error
        held, stated = self.path.stat().st_size - offset, math.prod(shape) * dtype.itemsize
        if held != stated or not stated:
            raise InputError(f"{where} states {dtype} {shape}, {stated} bytes, and holds {held}; write it again")
        stack = np.memmap(self.path, dtype, "r", offset, shape, "F" if fortran else "C")
        return stack[None] if stack.ndim == 2 else stack


def _decode_file(file: Path) -> np.ndarray:
    return decode(file.name, file.read_bytes())


def _decode_entry(archive: zipfile.ZipFile, entry: str) -> np.ndarray:
    return decode(entry, read_entry(archive, entry, "a map"))


def decode(name: str, content: bytes) -> np.ndarray:
    """The array in the bytes of a .npy, a .npz with one array, or a .png.

    Raises:
        InputError: broken content, something else than numbers, or an archive with several arrays.
    """
    if name.lower().endswith(".png"):
        return _picture(content)
    if not content.startswith(b"PK"):
        return read_array(content, "it")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if len(entries := archive.infolist()) != 1:
            raise InputError(f"{len(entries)} arrays where one is expected; write each to its own file")
        if entries[0].file_size > MOST_BYTES:
            raise InputError(f"it states {entries[0].file_size} bytes, expected at most {MOST_BYTES}")
        return read_array(archive.read(entries[0]), "it")


def _picture(content: bytes) -> np.ndarray:
    """A PNG's values: indices of a palette and bits as they are stored, not the colours they stand for."""
    try:
        image_facts(content)  # its bounds, and the checksums of all chunks
        if complaint := decoder_complaint(content):
            raise ValueError(complaint)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode in ("1", "P"):
                return np.array(image, dtype=np.uint8)
            image.load()
    except (*DAMAGE, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"no readable PNG ({reason(error)}); write it again") from error
    import cv2  # only where there are pictures

    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise InputError("no readable PNG; write it again")
    return np.asarray(found)
