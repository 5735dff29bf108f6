"""The posed image set: single objects seen from known poses, the one interface to every generator's training data.

A folder holds ``posed.json`` and one ``<id>.npz`` an object. The studio writes such folders, and so may anything else:
a GAN with known poses, photographs with solved cameras, a CAD renderer.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from datamodules.errors import InputError, listed
from datamodules.files.atomic_files import read_bytes, write_atomically, write_index
from datamodules.files.checksums import digest_of, require_checksums
from datamodules.files.npz_files import packed_arrays, read_arrays
from datamodules.files.typed_json import Identifier, Metres, Text, read_json
from datamodules.objects.mapped_views import MappedViews, map_objects

SCHEMA = 2  # of posed.json; 2 has checksums beside it, 1 is what others may write
POSED_SET = f"a posed image set of schema 1 or {SCHEMA} (posed.json and one .npz an object); write the set again"
POSED_INDEX = "posed.json"
FARTHEST = 1e6  # of a projection's entries
IN_MEMORY = 2 << 30  # bytes of a set's arrays; larger ones stay on disk
REQUIRED = {"rgba": (np.uint8, 4), "projection": (np.float64, 3)}
OPTIONAL = {"depth": (np.float16, 3), "normals": (np.int8, 4), "parts": (np.uint8, 3), "edges": (np.uint8, 3)}

Views = np.ndarray | MappedViews


class ObjectEntry(msgspec.Struct):
    """One object of ``posed.json``: its name, also that of its file, and its length, height and width in metres."""

    id: Identifier
    dims: tuple[Metres, Metres, Metres]


class PosedIndex(msgspec.Struct, rename={"name": "class"}):
    """``posed.json``."""

    schema: Annotated[int, Meta(ge=1, le=SCHEMA)]
    name: Text
    image_size: Annotated[int, Meta(ge=1, le=1 << 14)]
    views: Annotated[int, Meta(ge=1, le=1 << 20)]
    objects: Annotated[list[ObjectEntry], Meta(min_length=1)]
    source: Text = ""

    def __post_init__(self) -> None:
        ids = [entry.id for entry in self.objects]
        if len(set(ids)) < len(ids):
            raise ValueError("two objects have one id, expected unique ids - at `$.objects`")


@dataclass(frozen=True)
class PosedImageSet:
    """Posed views of N objects, in memory or, where that would take too much, mapped from disk.

    Attributes:
        ids: N unique names.
        name: class name ("Car").
        dims: (N, 3) float64 length, height, width in metres.
        rgba: (N, V, S, S, 4) uint8, straight (un-premultiplied) colour, antialiased alpha.
        projection: (N, V, 3, 4) float64 from the object's canonical cube [-1, 1]^3 to pixels; the third row is depth in
            metres (:func:`datamodules.geometry.canonical_projection`).
        depth: (N, V, S, S) float16 metres, 0 in the background, or None.
        normals: (N, V, S, S, 3) int8, 127 times the unit normal in the object frame, or None.
        parts: (N, V, S, S) uint8 part labels, or None.
        edges: (N, V, S, S) uint8, 255 on edges, or None.
        source: where the images come from.
    """

    ids: tuple[str, ...]
    name: str
    dims: np.ndarray
    rgba: Views
    projection: np.ndarray
    depth: Views | None = None
    normals: Views | None = None
    parts: Views | None = None
    edges: Views | None = None
    source: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def views(self) -> int:
        return self.rgba.shape[1]

    @property
    def image_size(self) -> int:
        return self.rgba.shape[2]

    @staticmethod
    def load(folder: str | Path, in_memory: int = IN_MEMORY) -> PosedImageSet:
        """Read and check a folder.

        Args:
            folder: the set.
            in_memory: sets of more bytes are unpacked into the folder once and mapped from there, so that memory holds
                what is looked at, once for all processes of a machine.

        Raises:
            InputError: the folder, its index or a file is missing, of another schema, cut short or inconsistent.
        """
        folder = Path(folder)
        index = read_json(folder / POSED_INDEX, PosedIndex, POSED_SET)
        if index.schema > 1:
            require_checksums(folder / POSED_INDEX)
        else:
            _warn_of_others(folder, {entry.id for entry in index.objects})
        size, views, ids = index.image_size, index.views, tuple(entry.id for entry in index.objects)
        first = _read_object(folder / f"{ids[0]}.npz", views, size)
        stacked: dict[str, Any] = {}
        if len(ids) * sum(value.nbytes for value in first.values()) > in_memory:
            mapped = map_objects(
                folder, ids, lambda name: _read_object(folder / f"{name}.npz", views, size), first, REQUIRED
            )
            stacked = {key: MappedViews(value) for key, value in mapped.items()}
            stacked["projection"] = np.asarray(mapped["projection"])
        else:
            loaded = [first, *(_read_object(folder / f"{name}.npz", views, size) for name in ids[1:])]
            for key in (*REQUIRED, *OPTIONAL):
                stacked[key] = np.stack([o[key] for o in loaded]) if all(key in o for o in loaded) else None
        dims = np.array([entry.dims for entry in index.objects], np.float64)
        return PosedImageSet(ids, index.name, dims, source=index.source, **stacked)

    def subset(self, objects: Sequence[int] | slice, views: Sequence[int] | slice = slice(None)) -> PosedImageSet:
        """Some objects and some views of each."""
        chosen = np.arange(len(self))[objects]
        picked: dict[str, Any] = {}
        for key in (*REQUIRED, *OPTIONAL):
            value = getattr(self, key)
            if isinstance(value, MappedViews):
                picked[key] = value.subset(chosen, views)
            else:
                picked[key] = None if value is None else value[chosen][:, views]
        return replace(self, ids=tuple(self.ids[i] for i in chosen), dims=self.dims[chosen], **picked)


def _read_object(path: Path, views: int, size: int) -> dict[str, np.ndarray]:
    """Arrays of one object, shapes and types checked."""
    if not path.is_file():
        raise InputError(f"{path}: not found, but {POSED_INDEX} lists it; write the set again")
    largest = views * size * size * 4
    try:
        arrays = read_arrays(read_bytes(path, "an object's views"), (*REQUIRED, *OPTIONAL), max(largest, views * 96))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: cut short or no .npz archive ({error}); write the set again") from None
    expected = {"rgba": (size, size, 4), "projection": (3, 4), "normals": (size, size, 3)}
    for key, (kind, _) in REQUIRED.items():
        if key not in arrays:
            raise InputError(f"{path}: no array {key!r} ({np.dtype(kind)}); write the set again")
    for key, value in arrays.items():
        kind = {**REQUIRED, **OPTIONAL}[key][0]
        shape = (views, *expected.get(key, (size, size)))
        if value.shape != shape or value.dtype != kind:
            raise InputError(f"{path}: {key} is {value.dtype} {value.shape}, expected {np.dtype(kind)} {shape}")
    if not np.isfinite(arrays["projection"]).all():
        raise InputError(f"{path}: projection holds values that are not finite; solve its cameras again")
    if np.abs(arrays["projection"]).max() > FARTHEST or not np.isfinite(arrays.get("depth", np.zeros(1))).all():
        raise InputError(f"{path}: values that no camera gives, expected |projection| <= {FARTHEST:g} and finite depth")
    return arrays


def _warn_of_others(folder: Path, ids: set[str]) -> None:
    """Say what lies there and is not read."""
    others = sorted(path.name for path in folder.glob("*.npz") if path.stem not in ids)
    if others:
        named = listed(others, 3)
        warnings.warn(
            f"{folder}: {len(others)} objects that {POSED_INDEX} does not list are left out: {named}", stacklevel=3
        )


def write_object(folder: str | Path, identity: str, arrays: dict[str, np.ndarray]) -> None:
    """Write one object's ``.npz`` atomically."""
    unknown = set(arrays) - set(REQUIRED) - set(OPTIONAL)
    if unknown or set(REQUIRED) - set(arrays):
        raise InputError(f"arrays {sorted(arrays)}: expected {sorted(REQUIRED)} and optionally {sorted(OPTIONAL)}")
    write_atomically(Path(folder) / f"{identity}.npz", packed_arrays(arrays))


def write_posed_index(
    folder: str | Path, name: str, image_size: int, views: int, ids: Sequence[str], dims: np.ndarray, source: str
) -> None:
    """Write ``posed.json``, last: its presence says that the set is complete. Checksums of all files come before it."""
    objects = [ObjectEntry(identity, (float(d[0]), float(d[1]), float(d[2]))) for identity, d in zip(ids, dims)]
    index = msgspec.to_builtins(PosedIndex(SCHEMA, name, image_size, views, objects, source))
    files = {f"{name}.npz": digest_of(read_bytes(Path(folder) / f"{name}.npz", "an object's views")) for name in ids}
    write_index(Path(folder) / POSED_INDEX, json.dumps(index, indent=1), files)
