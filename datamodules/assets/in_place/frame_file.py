"""One frame's objects of an in-place bank, as a file: ``<sample id>.npz`` with all their pictures one after the other.

rgba      (P, 4) uint8, depth (P,) float32    the pixels of the first object's layer row by row, then the second's
windows   (N, 4) int64                        left, top, width and height of each layer in the stored picture
full_bbox (N, 4), boxes (N, 7), dims (N, 3)   see Layer; centre, dims and yaw of the box; the object's own size
ids, names (N,) text                          its id and class
camera    (3, 4), size (2,) int64             projection, width and height of the stored picture
settings  (1,) text, edges (3, 256, 2) int64      what it was made with; counts of pixels on edges
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.contract import Layer
from datamodules.assets.in_place.placed_asset import PlacedAsset
from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes, write_atomically
from datamodules.files.checksums import digest_of
from datamodules.files.npz_files import packed_arrays, read_arrays
from datamodules.geometry import Boxes3D, Camera

FRAME_KIND = "a frame's objects (`python -m lit prepare dst-in-place` writes it)"
LARGEST = 1 << 31  # bytes of one array
ARRAYS: dict[str, tuple[str, tuple[int | None, ...]]] = {  # kinds of types, and axes; None is as long as it is
    "rgba": ("u", (None, 4)), "depth": ("f", (None,)), "windows": ("i", (None, 4)), "full_bbox": ("f", (None, 4)),
    "boxes": ("f", (None, 7)), "dims": ("f", (None, 3)), "ids": ("U", (None,)), "names": ("U", (None,)),
    "camera": ("f", (3, 4)), "size": ("i", (2,)), "settings": ("U", (1,)), "edges": ("i", (3, 256, 2)),
}  # fmt: skip


@dataclass(frozen=True)
class FrameObjects:
    """What one file holds.

    Attributes:
        assets: the objects.
        settings: digest of what they were made with.
        edges: (3, 256, 2) int64, see :func:`datamodules.renders.crops.placed_crop.edge_table`.
    """

    assets: Sequence[PlacedAsset]
    settings: str
    edges: np.ndarray


def write_frame(path: Path, camera: Camera, content: FrameObjects) -> str:
    """Write a frame's objects, perhaps none; the digest of the file."""
    assets, nothing = content.assets, np.zeros((0, 4))
    layers = [asset.layer for asset in assets]
    boxes = [np.concatenate([a.pose.center[0], a.pose.dims[0], a.pose.yaw]) for a in assets]
    windows = [[layer.left, layer.top, layer.depth.shape[1], layer.depth.shape[0]] for layer in layers]
    arrays: dict[str, Any] = {
        "rgba": np.concatenate([layer.rgba.reshape(-1, 4) for layer in layers] or [nothing]).astype(np.uint8),
        "depth": np.concatenate([layer.depth.reshape(-1) for layer in layers] or [nothing[:, 0]]).astype(np.float32),
        "windows": np.array(windows, np.int64).reshape(-1, 4),
        "full_bbox": np.array([layer.full_bbox for layer in layers], np.float64).reshape(-1, 4),
        "boxes": np.array(boxes, np.float64).reshape(-1, 7),
        "dims": np.array([asset.dims for asset in assets], np.float64).reshape(-1, 3),
        "ids": np.array([asset.id for asset in assets], dtype="U"),
        "names": np.array([asset.name for asset in assets], dtype="U"),
        "camera": np.asarray(camera.projection, np.float64),
        "size": np.array([camera.width, camera.height], np.int64),
        "settings": np.array([content.settings], dtype="U"),
        "edges": content.edges.astype(np.int64),
    }
    return write_atomically(path, packed_arrays(arrays))


def read_frame(path: Path, digest: str | None = None) -> FrameObjects:
    """Read a frame's objects.

    Args:
        path: the file.
        digest: that it was written with; None believes the archive's own checksums.

    Raises:
        InputError: missing, damaged, or another file than the bank's index says.
    """
    content = read_bytes(path, FRAME_KIND, "write the bank again")
    if digest is not None and digest_of(content) != digest:
        raise InputError(f"{path}: differs from what the bank's index says, expected {FRAME_KIND}; write it again")
    try:
        arrays = read_arrays(content, ARRAYS, LARGEST)
        return _objects(arrays)
    except ValueError as error:
        raise InputError(f"{path}: {error}, expected {FRAME_KIND}; write it again") from None


def _objects(arrays: dict[str, np.ndarray]) -> FrameObjects:
    """Check the arrays against each other and cut them into objects.

    Raises:
        ValueError: they do not fit.
    """
    for name, (kind, axes) in ARRAYS.items():
        if name not in arrays:
            raise ValueError(f"array {name} is missing")
        found = arrays[name]
        alike = found.ndim == len(axes) and all(b in (None, a) for a, b in zip(found.shape, axes))
        if found.dtype.kind != kind or not alike:
            raise ValueError(f"array {name} is {found.dtype} {found.shape}")
    count = {len(arrays[name]) for name in ("windows", "full_bbox", "boxes", "dims", "ids", "names")}
    (width, height), windows = arrays["size"].tolist(), arrays["windows"]
    ends = np.cumsum(windows[:, 2] * windows[:, 3])
    total = int(ends[-1]) if len(ends) else 0
    fits = (windows[:, :2] >= 0).all() and (windows[:, 2:] > 0).all()
    fits = fits and (windows[:, :2] + windows[:, 2:] <= [width, height]).all()
    if len(count) > 1 or not fits or not total == len(arrays["rgba"]) == len(arrays["depth"]):
        raise ValueError("its windows do not fit its pictures")
    if not all(np.isfinite(arrays[name]).all() for name in ("full_bbox", "boxes", "dims", "camera")):
        raise ValueError("its boxes are not finite")
    camera = Camera(arrays["camera"], width, height)
    assets = []
    for row, (left, top, columns, rows) in enumerate(windows.tolist()):
        part = slice(int(ends[row]) - columns * rows, int(ends[row]))
        pixels = arrays["rgba"][part].reshape(rows, columns, 4)
        layer = Layer(pixels, arrays["depth"][part].reshape(rows, columns), left, top, arrays["full_bbox"][row])
        box = arrays["boxes"][row]
        pose = Boxes3D(box[None, :3].copy(), box[None, 3:6].copy(), box[6:].copy())
        identity, name = str(arrays["ids"][row]), str(arrays["names"][row])
        assets.append(PlacedAsset(identity, name, arrays["dims"][row].copy(), pose, layer, camera))
    return FrameObjects(assets, str(arrays["settings"][0]), arrays["edges"])
