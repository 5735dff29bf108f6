"""Writing asset banks.

A bank is a folder; picture it as a table with a thick binding. ``bank.json`` is the table: a header (the generator, the
hashes of its configuration and checkpoint, seed, licence, source) with statistics of each class, and a row an asset:
id, class, dims, caption, score, and its own source and licence where they are not the header's. The shards are the
binding. Assets whose arrays have equal shapes share one, and a row says "shard 2, index 17". A shard of voxels is one
``.npy`` file, ``grid`` (N, X, Y, Z, 4). A shard of posed views, V an asset, is five files: ``rgba`` and ``depth``, each
a string of compressed pictures with a ``.npy`` table (N, V) of where each one starts
(:mod:`datamodules.assets.compressed_views`), and ``projection`` (N, V, 3, 4). Nothing is pickled.

While writing, all of it grows in a hidden folder beside the target, ``.NAME.writing``::

    rank000-shard000-grid.npy   320 bytes left free for the header, then grid after grid; the header follows at the end,
    rank001-shard000-grid.npy   when their number is known. Each rank writes shards of its own, and when it closes
    rank000-part.json           a part: its shards and rows. Rank 0 joins the parts, sorts the rows by id, writes
    rank001-part.json           bank.json, removes the parts and renames the folder to the bank.

Where a bank is replaced, the old and the new folder change places (:mod:`datamodules.assets.bank_folder`). So there is
no half-written bank, and the hash of a bank, which counts header and rows but not where an asset lies, does not depend
on the number of ranks.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

import msgspec
import numpy as np

from datamodules.assets.bank_folder import bank_lock, recover, replace_folder, work_folder
from datamodules.assets.bank_index import (
    INDEX,
    SCHEMA,
    BankHeader,
    BankIndex,
    BankRow,
    StoredArray,
    class_dims,
    content_hash,
    index_hash,
)
from datamodules.assets.compressed_views import CompressedViews
from datamodules.assets.contract import Asset
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.files.atomic_files import disk_refusals, write_atomically
from datamodules.files.checksums import CHECKSUMS, checksums_text, digest_of

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
HEADER_BYTES = 320  # of every .npy file: its header is written last, when the number of assets is known


class _Part(msgspec.Struct):
    """What one rank has written."""

    kinds: set[str]
    shards: list[dict[str, StoredArray]]
    assets: list[BankRow]


@dataclass
class _Shard:
    """Arrays of equal shapes under way: open files, one an array, and how many assets they hold."""

    layout: dict[str, tuple[tuple[int, ...], Any]]  # shape, and type as .npy files spell it, or None for mere bytes
    handles: dict[str, BinaryIO]
    count: int = 0


@dataclass
class AssetBankWriter:
    """Writes one bank; every rank writes shards of its own and rank 0 merges them.

    Use it as a context manager: an exception inside removes what was begun. A killed process leaves only the hidden
    work folder, which the next writer clears. Rank 0 holds a lock meanwhile: one writer a bank.

    Attributes:
        folder: the bank's folder; an older bank there is replaced at the end, any other content is refused.
        generator: what made the assets, such as "lift3d".
        config_hash: hash of the generator's resolved configuration.
        checkpoint_hash: hash of its weights.
        licence: licence of the assets, where an asset has none of its own.
        seed: seed they were drawn with.
        source: what they were made from, likewise.
        rank: this process.
        world_size: number of processes; with more than one, call :meth:`close` on all, then :meth:`merge` on rank 0.
    """

    folder: str | Path
    generator: str
    config_hash: str = ""
    checkpoint_hash: str = ""
    licence: str = "unknown"
    seed: int = 0
    source: str = ""
    rank: int = 0
    world_size: int = 1
    _rows: dict[str, BankRow] = field(default_factory=dict, init=False, repr=False)
    _kinds: set[str] = field(default_factory=set, init=False, repr=False)
    _shards: list[_Shard] = field(default_factory=list, init=False, repr=False)
    _held: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        stated = {name: getattr(self, name) for name in BankHeader.__struct_fields__[1:]}
        stated |= {"schema": SCHEMA, "seed": np.asarray(self.seed).tolist()}
        self._header = _checked(stated, BankHeader, "header")
        target = Path(self.folder)
        if target.exists() and not (target / INDEX).is_file() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(
                f"{target}: exists and is no asset bank, expected a new or empty folder; choose another one"
            )
        self._work = work_folder(target)
        if self.rank == 0:
            self._held.enter_context(bank_lock(target))
            recover(target, locked=True)
        with disk_refusals(target):
            self._work.mkdir(parents=True, exist_ok=True)
            if self.rank == 0:
                (self._work / INDEX).unlink(missing_ok=True)
                (self._work / CHECKSUMS).unlink(missing_ok=True)
            for leftover in self._work.glob(f"rank{self.rank:03d}-*"):
                leftover.unlink()

    def write(
        self, asset: Asset, caption: str = "", score: float | None = None, source: str = "", licence: str = ""
    ) -> None:
        """Append one asset.

        Args:
            asset: a VoxelAsset or a ViewAsset.
            caption: what it shows.
            score: how good its generator or filter thinks it is.
            source: what it was made from; by default the bank's.
            licence: its own; by default the bank's.

        Raises:
            InputError: it is of another kind, its id is taken, or its id, class, dims or one of these is not what a
                row may hold; the bank is as before.
        """
        arrays: dict[str, np.ndarray | CompressedViews]
        seen: list[list[float]] = []
        if isinstance(asset, VoxelAsset):
            arrays = {"grid": np.ascontiguousarray(asset.grid)}
            seen = np.round(np.rad2deg(asset.seen), 3).tolist()
        elif isinstance(asset, ViewAsset):
            arrays = {
                "rgba": CompressedViews.of(np.asarray(asset.rgba)),
                "depth": CompressedViews.of(np.asarray(asset.depth).astype(np.float16)),
                "projection": np.ascontiguousarray(asset.projection, dtype=np.float64),
            }
        else:
            raise InputError(
                f"{type(asset).__name__} cannot be stored, expected VoxelAsset or ViewAsset; bake it first"
            )
        facts = {"class": asset.name, "caption": caption, "source": source, "licence": licence}
        place = {"shard": 0, "index": 0, "sha256": content_hash(arrays)}
        figures = {"dims": np.asarray(asset.dims).tolist(), "score": np.asarray(score).tolist()}
        row = _checked({"id": asset.id, **place, **facts, **figures, "seen": seen}, BankRow, f"asset {asset.id!r}")
        if row.id in self._rows:
            raise InputError(f"asset {row.id!r} of a bank: written before, expected unique ids; name them apart")
        with disk_refusals(self.folder):
            self._append(row, arrays)

    def _append(self, row: BankRow, arrays: dict[str, np.ndarray | CompressedViews]) -> None:
        """Put an asset's arrays at the end of their shard."""
        row.shard = self._shard_for(arrays)
        shard = self._shards[row.shard]
        row.index = shard.count
        self._rows[row.id] = row
        for key, array in arrays.items():
            if isinstance(array, CompressedViews):
                array.table["offset"] += shard.handles[key].tell()
                shard.handles[f"{key}_table"].write(array.table.tobytes())
                array = array.data
            shard.handles[key].write(array.tobytes())
        self._kinds.add("voxels" if "grid" in arrays else "views")
        shard.count += 1

    def _shard_for(self, arrays: dict[str, np.ndarray | CompressedViews]) -> int:
        layout: dict[str, tuple[tuple[int, ...], Any]] = {}
        for key, array in arrays.items():
            layout[key] = (array.shape, None if isinstance(array, CompressedViews) else array.dtype.str)
            if isinstance(array, CompressedViews):
                layout[f"{key}_table"] = (array.table.shape, np.lib.format.dtype_to_descr(array.table.dtype))
        for number, shard in enumerate(self._shards):
            if shard.layout == layout:
                return number
        number = len(self._shards)
        handles: dict[str, BinaryIO] = {}
        for key, (_, kind) in layout.items():
            file = f"rank{self.rank:03d}-shard{number:03d}-{key}.{'npy' if kind else 'bin'}"
            handles[key] = open(self._work / file, "wb")  # noqa: SIM115  (closed with the shard)
            handles[key].write(bytes(HEADER_BYTES if kind else 0))
        self._shards.append(_Shard(layout, handles))
        return number

    def close(self) -> None:
        """Finish this rank's shards; a single process also puts the bank in place.

        Raises:
            InputError: the disk refuses.
        """
        with disk_refusals(self.folder):
            part = self._finish_shards()
        write_atomically(self._work / f"rank{self.rank:03d}-part.json", msgspec.json.encode(part))
        if self.world_size == 1:
            self.merge()

    def _finish_shards(self) -> _Part:
        part = _Part(self._kinds, [], list(self._rows.values()))
        for shard in self._shards:
            row = {}
            for key, handle in shard.handles.items():
                shape, kind = (shard.count, *shard.layout[key][0]), shard.layout[key][1]
                if kind:
                    handle.seek(0)
                    handle.write(_header(shape, kind))
                handle.flush()
                os.fsync(handle.fileno())
                handle.close()
                path = Path(handle.name)
                row[key] = StoredArray(path.name, list(shape), path.stat().st_size)
            part.shards.append(row)
        return part

    def merge(self) -> None:
        """Join the ranks' parts and rename the work folder to the bank (rank 0, after all ranks closed).

        Raises:
            InputError: a part is missing, they contradict each other, or the disk refuses.
        """
        with self._held:  # the lock goes with the bank, or with the error
            self._merge()

    def _merge(self) -> None:
        whole = _Part(set(), [], [])
        for rank in range(self.world_size):
            path = self._work / f"rank{rank:03d}-part.json"
            if not path.is_file():
                raise InputError(
                    f"{path}: rank {rank} of {self.world_size} has not closed its shards, expected one folder that all "
                    "nodes share; choose such a one, or run the writer again"
                )
            part = msgspec.json.decode(path.read_bytes(), type=_Part)
            for row in part.assets:
                row.shard += len(whole.shards)
            whole.assets += part.assets
            whole.shards += part.shards
            whole.kinds |= part.kinds
        index = self._index(whole)
        kept = {array.file for shard in whole.shards for array in shard.values()}
        with disk_refusals(self.folder):
            for leftover in self._work.iterdir():
                if leftover.name not in kept:
                    leftover.unlink()
            content = msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n"
            write_atomically(self._work / CHECKSUMS, checksums_text({INDEX: digest_of(content)}))
            write_atomically(self._work / INDEX, content)  # last: with it the bank is whole
            replace_folder(self._work, Path(self.folder))

    def _index(self, whole: _Part) -> BankIndex:
        rows = sorted(whole.assets, key=lambda row: row.id)
        if not rows or len(whole.kinds) != 1:
            raise InputError(
                f"{self.folder}: {len(rows)} assets of kinds {sorted(whole.kinds)}, expected one kind and at least one"
            )
        for row, following in pairwise(rows):
            if row.id == following.id:
                raise InputError(
                    f"{self.folder}: two ranks wrote an asset {row.id!r}, expected unique ids; name them apart"
                )
        identity = {**msgspec.structs.asdict(self._header), "kind": whole.kinds.pop()}
        digest = index_hash(identity, rows)
        return BankIndex(**identity, hash=digest, classes=class_dims(rows), shards=whole.shards, assets=rows)

    def abort(self) -> None:
        """Give up: close and remove what this rank has written."""
        for shard in self._shards:
            for handle in shard.handles.values():
                handle.close()
        for path in self._work.glob(f"rank{self.rank:03d}-*"):
            path.unlink()
        with suppress(OSError):  # another rank's files are there, or it has removed the folder
            self._work.rmdir()
        self._held.close()

    def __enter__(self) -> AssetBankWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _checked(content: dict[str, Any], kind: type[_Struct], of: str) -> _Struct:
    try:
        return msgspec.convert(content, kind)
    except ValueError as error:
        raise InputError(f"{of} of a bank, {error}; correct it before it is written") from None


def _header(shape: tuple[int, ...], dtype: Any) -> bytes:
    """A version 1.0 .npy header of :data:`HEADER_BYTES` bytes."""
    fields = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode("latin1")
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + fields.ljust(length - 1) + b"\n"
