"""Streams images from a folder, a zip or an npz in batches, in constant memory and sorted order.

Grey images become RGB. Transparent ones are refused: the background they should stand on is the other set's, and a
guess would move every figure; an alpha channel that is 255 everywhere is dropped. Orientation tags are not applied.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datamodules.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # eight bits or less
UNREADABLE = (OSError, SyntaxError, ValueError, zlib.error, zipfile.BadZipFile, Image.DecompressionBombError)


class ImageSource(Protocol):
    """A sorted set of images.

    Attributes:
        path: where it was read from.
    """

    path: Path

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __iter__(self) -> Iterator[np.ndarray]:
        """Images (H, W, 3) uint8, one at a time."""
        ...


class ImageFolder:
    """All png, jpg and webp files under a folder, sorted by their path; hidden ones are left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        shown = [file for file in found if not _hidden(file.relative_to(path).parts)]
        self.files = sorted(shown, key=lambda file: file.relative_to(path).as_posix())
        _refuse_empty(path, len(self.files))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        for file in self.files:
            yield decode(file, str(file))


class ImageZip:
    """All png, jpg and webp members of a zip, sorted by their name; hidden ones are left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _opened(path) as archive:
            names = archive.namelist()
        self.names = sorted(n for n in names if n.lower().endswith(SUFFIXES) and not _hidden(n.split("/")))
        _refuse_empty(path, len(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[np.ndarray]:
        with _opened(self.path) as archive:
            for name in self.names:
                try:
                    content = archive.read(name)
                except (*UNREADABLE, RuntimeError) as error:  # RuntimeError: encrypted
                    raise _unreadable(f"{self.path}: {name}", error) from error
                yield decode(io.BytesIO(content), f"{self.path}: {name}")


class ImageArray:
    """The array of an npz: uint8 (N, H, W, 3) or (N, 3, H, W), read image by image, compressed or not.

    The array is ``arr_0`` or ``images``, or the only one with four axes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        headers: dict[str, tuple[tuple[int, ...], bool, np.dtype[Any]]] = {}
        with _opened(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as file:
                        headers[name[:-4]] = _header(file, f"{path}: {name[:-4]}")
        named: list[str] = [name for name in ("arr_0", "images") if name in headers]
        chosen = named[:1] or [name for name, (shape, *_) in headers.items() if len(shape) == 4]
        if len(chosen) != 1:
            held = ", ".join(f"{name} {shape}" for name, (shape, *_) in headers.items()) or "no arrays"
            raise InputError(f"{path}: holds {held}; expected images in one array arr_0 or images (N, H, W, 3)")
        self.name = chosen[0]
        self.shape, fortran, dtype = headers[self.name]
        where = f"{path}: {self.name}"
        if dtype != np.uint8 or fortran:
            order = " in Fortran order" if fortran else ""
            raise InputError(f"{where} is {dtype}{order}; expected uint8 in C order; convert and save it again")
        if len(self.shape) != 4 or 3 not in (self.shape[1], self.shape[3]) or self.shape[1] == self.shape[3]:
            raise InputError(f"{where} has the shape {self.shape}; expected (N, H, W, 3) or (N, 3, H, W)")
        _refuse_empty(path, self.shape[0])

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        size = int(np.prod(self.shape[1:]))
        with _opened(self.path) as archive, archive.open(f"{self.name}.npy") as file:
            _header(file, str(self.path))
            for index in range(len(self)):
                where = f"{self.path}: image {index} of {self.name}"
                try:
                    content = file.read(size)
                except UNREADABLE as error:
                    raise _unreadable(where, error) from error
                if len(content) < size:
                    raise InputError(f"{where} is cut short; copy or create the file again")
                image = np.frombuffer(content, np.uint8).reshape(self.shape[1:])
                yield image if self.shape[3] == 3 else image.transpose(1, 2, 0)


def open_images(path: str | Path) -> ImageSource:
    """Open a folder, zip or npz of images.

    Raises:
        InputError: nothing is there, it holds no images, or it is of another kind.
    """
    path = Path(path)
    if path.is_dir():
        return ImageFolder(path)
    if not path.is_file():
        raise InputError(f"{path}: no such folder or file; expected a folder, zip or npz of images")
    if path.suffix.lower() == ".npz":
        return ImageArray(path)
    if path.suffix.lower() == ".zip":
        return ImageZip(path)
    raise InputError(f"{path}: expected a folder, .zip or .npz of images")


def batches(source: ImageSource, size: int) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of images of equal size, with their positions in the sorted order.

    Images of different sizes wait for others of theirs, at most four batches of them, so positions may come out of
    order.

    Args:
        source: the images.
        size: images a batch; fewer where a size runs out.

    Yields:
        Positions, and RGB uint8 (B, 3, H, W).
    """
    waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)
    for position, image in enumerate(source):
        group = waiting[image.shape]
        group.append((position, image))
        if len(group) < size:
            if sum(map(len, waiting.values())) < 4 * size:
                continue
            group = max(waiting.values(), key=len)
        del waiting[group[0][1].shape]
        yield _batch(group)
    for group in waiting.values():
        yield _batch(group)


def decode(file: Path | IO[bytes], where: str) -> np.ndarray:
    """One image as RGB (H, W, 3) uint8.

    Args:
        file: encoded image.
        where: its name in errors.

    Raises:
        InputError: broken or truncated, more than eight bits, CMYK, or transparent.
    """
    try:
        with Image.open(file) as image:
            image.load()
            return _rgb(image, where)
    except InputError:
        raise
    except UNREADABLE as error:
        raise _unreadable(where, error) from error


def _rgb(image: Image.Image, where: str) -> np.ndarray:
    if image.mode not in MODES:
        raise InputError(f"{where}: pixels of mode {image.mode}, expected 8-bit grey or RGB; convert the image")
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            raise InputError(f"{where}: has transparent pixels; composite it on the background of the other set first")
    return np.asarray(image.convert("RGB"))


def _batch(group: list[tuple[int, np.ndarray]]) -> tuple[list[int], Tensor]:
    images = np.stack([image for _, image in group]).transpose(0, 3, 1, 2)
    return [position for position, _ in group], torch.from_numpy(np.ascontiguousarray(images))


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(str(path), error) from error


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype of an npy stream, which is left at the first value."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)
    except UNREADABLE as error:
        raise _unreadable(where, error) from error


def _hidden(parts: tuple[str, ...] | list[str]) -> bool:
    """Dot files, and what macOS leaves in its archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _refuse_empty(path: Path, count: int) -> None:
    if not count:
        raise InputError(f"{path}: holds no images; expected {', '.join(SUFFIXES)} files, or an npz with images")


def _unreadable(where: str, error: BaseException) -> InputError:
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).split("\n")[0]
    return InputError(f"{where}: cannot be read ({reason or type(error).__name__}); copy or create it again")
