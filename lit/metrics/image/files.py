"""Streams images from a folder, a zip or an npz in batches, in constant memory and sorted order.

Grey images become RGB. Transparent ones are refused: the background they should stand on is the other set's, and a
guess would move every figure; an alpha channel that is 255 everywhere is dropped. Orientation tags are not applied.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.archives import DAMAGE, open_archive, open_entry, read_entry
from datamodules.files.arrays import Header, read_header
from datamodules.files.atomic_files import read_bytes
from datamodules.image_bytes import JPEG_HEADER, PNG_HEADER, image_facts
from datamodules.images import decoder_complaint

ARCHIVES = "a zip or npz of images"
KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # eight bits or less
UNREADABLE = (*DAMAGE, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class ImageSource:
    """A sorted set of images.

    Attributes:
        path: where it is read from.
        count: their number.
        read: starts over and yields images (H, W, 3) uint8, one at a time.
        left_out: files beside them that are no images.
    """

    path: Path
    count: int
    read: Callable[[], Iterator[np.ndarray]]
    left_out: int = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.read()


def open_images(path: str | Path) -> ImageSource:
    """Open a folder, zip or npz of images.

    In a folder and a zip these are all png, jpg and webp files, sorted by their path, but hidden ones. In an npz it is
    ``arr_0`` or ``images``, or the only array with four axes, uint8 (N, H, W, 3) or (N, 3, H, W), compressed or not.

    Raises:
        InputError: nothing is there, it holds no images, or it is of another kind.
    """
    path = Path(path)
    read: Callable[[], Iterator[np.ndarray]]
    others = 0
    if path.is_dir():
        names = _shown(file.relative_to(path).as_posix() for file in path.rglob("*"))
        if missing := [name for name in names if not (path / name).is_file()]:
            raise InputError(f"{path / missing[0]}: named like an image and no file; remove it, or mend the link")
        count, read = len(names), partial(_from_folder, path, names)
    elif not path.is_file():
        raise InputError(f"{path}: no such folder or file; expected a folder, zip or npz of images")
    elif path.suffix.lower() == ".npz":
        name, shape = _image_array(path)
        count, read = shape[0], partial(_from_array, path, name, shape)
    elif path.suffix.lower() == ".zip":
        with open_archive(path, ARCHIVES) as archive:
            held = [name for name in archive.namelist() if not name.endswith("/")]
        names = _shown(held)
        others = len(held) - len(names)
        count, read = len(names), partial(_from_zip, path, names)
    else:
        raise InputError(f"{path}: expected a folder, .zip or .npz of images")
    if not count:
        raise InputError(f"{path}: holds no images; expected {', '.join(SUFFIXES)} files, or an npz with images")
    return ImageSource(path, count, read, others)


def _shown(names: Iterable[str]) -> list[str]:
    """Names of images, sorted, without dot files and what macOS leaves in its archives."""
    hidden = re.compile(r"(^|/)(\.|__MACOSX(/|$))")
    return sorted(name for name in names if name.lower().endswith(SUFFIXES) and not hidden.search(name))


def _from_folder(path: Path, names: list[str]) -> Iterator[np.ndarray]:
    for name in names:
        yield decode(read_bytes(path / name, "an image"), str(path / name))


def _from_zip(path: Path, names: list[str]) -> Iterator[np.ndarray]:
    with open_archive(path, ARCHIVES) as archive:
        for name in names:
            content = read_entry(archive, name, "an image")
            yield decode(content, f"{path}: {name}")


def _from_array(path: Path, name: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The images of an array, read one by one."""
    size = int(np.prod(shape[1:]))
    with (
        open_archive(path, ARCHIVES) as archive,
        open_entry(archive, f"{name}.npy", "an array") as file,
    ):
        read_header(file, str(path))
        for index in range(shape[0]):
            where = f"{path}: image {index} of {name}"
            try:
                content = file.read(size)
            except UNREADABLE as error:
                raise _unreadable(where, error) from error
            if len(content) < size:
                raise InputError(f"{where} is cut short; copy or create the file again")
            image = np.frombuffer(content, np.uint8).reshape(shape[1:])
            yield image if shape[3] == 3 else image.transpose(1, 2, 0)


def _image_array(path: Path) -> tuple[str, tuple[int, ...]]:
    """Name and shape of the array of an npz that holds the images."""
    headers: dict[str, Header] = {}
    with open_archive(path, ARCHIVES) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with open_entry(archive, name, "an array") as file:
                    headers[name[:-4]] = read_header(file, f"{path}: {name[:-4]}")
    named: list[str] = [name for name in ("arr_0", "images") if name in headers]
    chosen = named[:1] or [name for name, (shape, *_) in headers.items() if len(shape) == 4]
    if len(chosen) != 1:
        held = ", ".join(f"{name} {shape}" for name, (shape, *_) in headers.items()) or "no arrays"
        raise InputError(f"{path}: holds {held}; expected images in one array arr_0 or images (N, H, W, 3)")
    shape, fortran, dtype = headers[chosen[0]]
    where = f"{path}: {chosen[0]}"
    if dtype != np.uint8 or fortran:
        order = " in Fortran order" if fortran else ""
        raise InputError(f"{where} is {dtype}{order}; expected uint8 in C order; convert and save it again")
    if len(shape) != 4 or 3 not in (shape[1], shape[3]) or shape[1] == shape[3]:
        raise InputError(f"{where} has the shape {shape}; expected (N, H, W, 3) or (N, 3, H, W)")
    return chosen[0], shape


def batches(source: Iterable[np.ndarray], size: int) -> Iterator[tuple[list[int], Tensor]]:
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


def decode(content: bytes, where: str) -> np.ndarray:
    """One image as RGB (H, W, 3) uint8.

    Args:
        content: encoded image.
        where: its name in errors.

    Raises:
        InputError: broken or truncated, more than eight bits, CMYK, or transparent.
    """
    try:
        if content.startswith(PNG_HEADER):
            image_facts(content)  # its bounds, before anything of the stated size is made
        with Image.open(io.BytesIO(content)) as image:
            suffix = Path(where).suffix.lower()
            if KINDS.get(suffix, image.format) != image.format:
                raise ValueError(f"{image.format} bytes in a file named {suffix}")
            image.load()
            if content.startswith((PNG_HEADER, JPEG_HEADER)) and (complaint := decoder_complaint(content)):
                raise ValueError(f"damaged rows, the decoder says: {complaint}")  # Pillow passes over them
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


def _unreadable(where: str, error: BaseException) -> InputError:
    reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).split("\n")[0]
    return InputError(f"{where}: cannot be read ({reason or type(error).__name__}); copy or create it again")
