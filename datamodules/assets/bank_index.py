"""``bank.json``, the index of a bank, as typed structures that check themselves (``datamodules.files.typed_json``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from datamodules.assets.compressed_views import CompressedViews
from datamodules.files.typed_json import Finite, Identifier, Metres, Text

SCHEMA = 2
INDEX = "bank.json"
BANK_KIND = f"an asset bank of schema {SCHEMA} (`python -m lit predict` writes one, again where it is damaged)"
# The arrays of a shard and their axes, the first of which counts assets, and of views the second views.
AXES = {
    "voxels": {"grid": 5},
    "views": {"rgba": 5, "rgba_table": 2, "depth": 4, "depth_table": 2, "projection": 4},
}

Count = Annotated[int, Meta(ge=0, le=1 << 50)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Degrees = Annotated[float, Meta(ge=-360, le=360)]
Triple = tuple[Finite, Finite, Finite]


class StoredArray(Struct):
    """One file of a shard: its name, the shape of what it holds, and its bytes."""

    file: Identifier
    shape: list[Count]
    bytes: Annotated[int, Meta(ge=1, le=1 << 50)]


class BankRow(Struct, rename={"name": "class"}, omit_defaults=True):
    """One asset.

    Attributes:
        id: unique within the bank.
        dims: natural length, height, width, metres.
        shard: number of its shard.
        index: its number there.
        sha256: of its arrays (:func:`content_hash`).
        name: class name, in the file ``class``.
        caption: what it shows.
        score: how good its generator or filter thinks it is, in whatever unit; None where nobody said.
        source: what it was made from, where that is not the header's.
        licence: likewise.
        seen: observation angles and elevations it was photographed from, degrees; empty for all around.
    """

    id: Identifier
    dims: tuple[Metres, Metres, Metres]
    shard: Count
    index: Count
    sha256: Digest
    name: Identifier = ""
    caption: Text = ""
    score: Finite | None = None
    source: Text = ""
    licence: Text = ""
    seen: list[tuple[Degrees, Degrees]] = []


class ClassDims(Struct):
    """How many assets a class has, and mean and spread of their length, height and width in metres."""

    count: Count
    mean: Triple
    std: Triple


class BankHeader(Struct):
    """What a bank says of all its assets (:class:`datamodules.assets.bank_writer.AssetBankWriter`)."""

    schema: Annotated[int, Meta(ge=1, le=SCHEMA)]
    generator: Text
    config_hash: Text
    checkpoint_hash: Text
    licence: Text
    seed: int
    source: Text = ""


class BankIndex(BankHeader, rename={"name": "class"}, omit_defaults=True, kw_only=True):
    """The whole file. Schema 1, with one ``class`` for all rows, is read where a bank holds voxels."""

    kind: Literal["voxels", "views"]
    hash: Digest
    shards: list[dict[str, StoredArray]]
    assets: Annotated[list[BankRow], Meta(min_length=1)]
    classes: dict[str, ClassDims] = {}
    name: Identifier = ""

    def __post_init__(self) -> None:
        """Check what concerns several fields.

        Raises:
            ValueError: with the place of the first contradiction.
        """
        if self.schema == 1 and self.kind == "views":
            raise ValueError("views of schema 1 are not compressed - at `$.schema`")
        axes, shared = AXES[self.kind], 1 if self.kind == "voxels" else 2
        for number, shard in enumerate(self.shards):
            found = {key: len(array.shape) for key, array in shard.items()}
            if found != axes or len({tuple(array.shape[:shared]) for array in shard.values()}) > 1:
                raise ValueError(f"arrays and axes {found}, expected {axes} of equal counts - at `$.shards[{number}]`")
        seen: set[str] = set()
        for number, row in enumerate(self.assets):
            row.name = self.name if self.schema == 1 else row.name
            problem = ""
            if not row.name:
                problem = "Object missing required field `class`"
            elif row.id in seen:
                problem = f"a second asset has the id {row.id}, expected unique ids"
            elif row.shard >= len(self.shards) or row.index >= next(iter(self.shards[row.shard].values())).shape[0]:
                problem = f"no place {row.index} in a shard {row.shard}"
            if problem:
                raise ValueError(f"{problem} - at `$.assets[{number}]`")
            seen.add(row.id)
        names = sorted({row.name for row in self.assets})
        if self.classes and sorted(self.classes) != names:
            raise ValueError(f"{', '.join(self.classes)}, but the assets' are {', '.join(names)} - at `$.classes`")
        counted = class_dims(self.assets)
        if self.classes and not all(_alike(counted[name], stated) for name, stated in self.classes.items()):
            raise ValueError("statistics differ from the assets' - at `$.classes`")
        self.classes = self.classes or counted

    def is_as_written(self) -> bool:
        """Whether header and rows give the recorded hash; what schema 1 hashed is not kept, so it always is."""
        header = {name: getattr(self, name) for name in BankHeader.__struct_fields__}
        return self.schema == 1 or self.hash == index_hash({**header, "kind": self.kind}, self.assets)


def index_hash(header: Mapping[str, object], rows: Sequence[BankRow]) -> str:
    """SHA-256 of header (with the kind) and rows, but not of where an asset lies."""
    contents = [{k: v for k, v in msgspec.to_builtins(row).items() if k not in ("shard", "index")} for row in rows]
    return hashlib.sha256(json.dumps([header, contents], sort_keys=True).encode()).hexdigest()


def _alike(one: ClassDims, other: ClassDims) -> bool:
    """Whether statistics agree to the digits that are written."""
    near = np.allclose([one.mean, one.std], [other.mean, other.std], rtol=0, atol=2e-6)
    return one.count == other.count and near


def class_dims(rows: Sequence[BankRow]) -> dict[str, ClassDims]:
    """Statistics by class, in alphabetical order."""
    found: dict[str, ClassDims] = {}
    by_class: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        by_class.setdefault(row.name, []).append(row.dims)
    for name, sizes in sorted(by_class.items()):
        dims = np.array(sizes)
        mean, std = (tuple(values.round(6).tolist()) for values in (dims.mean(0), dims.std(0)))
        found[name] = ClassDims(len(dims), mean, std)
    return found


def content_hash(arrays: Mapping[str, np.ndarray | CompressedViews]) -> str:
    """SHA-256 of what an asset's arrays hold, however it is stored."""
    digest = hashlib.sha256()
    for key, array in sorted(arrays.items()):
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        digest.update(array.fingerprint if isinstance(array, CompressedViews) else np.ascontiguousarray(array).data)
    return digest.hexdigest()
