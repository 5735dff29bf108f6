"""Writing asset banks: shards grow in a folder beside the target, which is renamed into place when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from datamodules.assets.contract import Asset
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxel_assets import VoxelAsset
from datamodules.errors import InputError

SCHEMA = 1
INDEX = "bank.json"
HEADER_BYTES = 256  # of every shard: the .npy header is written last, when the number of assets is known


@dataclass
class _Shard:
    """Arrays of equal shapes under way: open files, one an array, and how many assets they hold."""

    files: dict[str, str]
    handles: dict[str, BinaryIO]
    layout: dict[str, tuple[tuple[int, ...], str]]
    count: int = 0


@dataclass
class AssetBankWriter:
    """Writes one bank; every rank writes shards of its own and rank 0 merges them.

    Use it as a context manager: an exception inside removes what was begun. A killed process leaves only the hidden
    work folder, which the next writer clears.

    Attributes:
        folder: the bank's folder; an older bank there is replaced at the end, any other content is refused.
        generator: what made the assets, such as "lift3d".
        config_hash: hash of the generator's resolved configuration.
        checkpoint_hash: hash of its weights.
        licence: licence of the assets.
        seed: seed they were drawn with.
        name: class name of the objects.
        rank: this process.
        world_size: number of processes; with more than one, call :meth:`close` on all, then :meth:`merge` on rank 0.
    """

    folder: str | Path
    generator: str
    config_hash: str = ""
    checkpoint_hash: str = ""
    licence: str = "unknown"
    seed: int = 0
    name: str = "Car"
    rank: int = 0
    world_size: int = 1
    _rows: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)
    _shards: list[_Shard] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        target = Path(self.folder)
        if target.exists() and not (target / INDEX).is_file() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(
                f"{target}: exists and is no asset bank, expected a new or empty folder; choose another one"
            )
        self._work = target.parent / f".{target.name}.writing"
        self._work.mkdir(parents=True, exist_ok=True)
        for leftover in self._work.glob(f"rank{self.rank:03d}-*"):
            leftover.unlink()

    def write(self, asset: Asset) -> None:
        """Append one asset (a VoxelAsset or a ViewAsset)."""
        if isinstance(asset, VoxelAsset):
            arrays = {"grid": np.ascontiguousarray(asset.grid)}
        elif isinstance(asset, ViewAsset):
            arrays = {
                "rgba": np.ascontiguousarray(asset.rgba),
                "depth": np.ascontiguousarray(asset.depth, dtype=np.float16),
                "projection": np.ascontiguousarray(asset.projection, dtype=np.float64),
            }
        else:
            raise InputError(
                f"{type(asset).__name__} cannot be stored, expected VoxelAsset or ViewAsset; bake it first"
            )
        digest = hashlib.sha256()
        for key in sorted(arrays):
            digest.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape}".encode())
            digest.update(arrays[key].tobytes())
        number = self._shard_for(arrays)
        shard = self._shards[number]
        for key, array in arrays.items():
            shard.handles[key].write(array.tobytes())
        self._rows.append(
            {
                "id": asset.id,
                "dims": [float(d) for d in asset.dims],
                "shard": number,
                "index": shard.count,
                "sha256": digest.hexdigest(),
                "kind": "voxels" if "grid" in arrays else "views",
            }
        )
        shard.count += 1

    def _shard_for(self, arrays: dict[str, np.ndarray]) -> int:
        layout = {key: (array.shape, array.dtype.str) for key, array in arrays.items()}
        for number, shard in enumerate(self._shards):
            if shard.layout == layout:
                return number
        number = len(self._shards)
        files = {key: f"rank{self.rank:03d}-shard{number:03d}-{key}.npy" for key in arrays}
        handles: dict[str, BinaryIO] = {}
        for key, file in files.items():
            handles[key] = open(self._work / file, "wb")  # noqa: SIM115  (closed with the shard)
            handles[key].write(bytes(HEADER_BYTES))
        self._shards.append(_Shard(files, handles, layout))
        return number

    def close(self) -> None:
        """Finish this rank's shards; a single process also puts the bank in place."""
        table = []
        for shard in self._shards:
            row = {}
            for key, handle in shard.handles.items():
                shape, dtype = shard.layout[key]
                handle.seek(0)
                handle.write(_header((shard.count, *shape), dtype))
                handle.flush()
                os.fsync(handle.fileno())
                handle.close()
                path = self._work / shard.files[key]
                row[key] = {"file": shard.files[key], "shape": [shard.count, *shape], "bytes": path.stat().st_size}
            table.append(row)
        part = self._work / f"rank{self.rank:03d}-part.json"
        part.write_text(json.dumps({"shards": table, "assets": self._rows}))
        if self.world_size == 1:
            self.merge()

    def merge(self) -> None:
        """Join the ranks' parts and rename the work folder to the bank (rank 0, after all ranks closed)."""
        shards: list[dict[str, Any]] = []
        assets: list[dict[str, Any]] = []
        for rank in range(self.world_size):
            path = self._work / f"rank{rank:03d}-part.json"
            if not path.is_file():
                raise InputError(
                    f"{path}: rank {rank} of {self.world_size} has not closed its shards; run the writer again"
                )
            part = json.loads(path.read_text())
            assets += [{**row, "shard": row["shard"] + len(shards)} for row in part["assets"]]
            shards += part["shards"]
        index = self._index(shards, sorted(assets, key=lambda row: row["id"]))
        kept = {array["file"] for shard in shards for array in shard.values()}
        for leftover in self._work.iterdir():
            if leftover.name not in kept:
                leftover.unlink()
        (self._work / INDEX).write_text(json.dumps(index, indent=1) + "\n")
        _replace_folder(self._work, Path(self.folder))

    def _index(self, shards: list[dict[str, Any]], assets: list[dict[str, Any]]) -> dict[str, Any]:
        ids, kinds = [row["id"] for row in assets], {row["kind"] for row in assets}
        if not assets or len(kinds) != 1:
            raise InputError(
                f"{self.folder}: {len(assets)} assets of kinds {sorted(kinds)}, expected one kind and at least one"
            )
        if len(set(ids)) != len(ids):
            double = next(i for i in ids if ids.count(i) > 1)
            raise InputError(f"{self.folder}: two assets have the id {double}, expected unique ids; name them apart")
        dims = np.array([row["dims"] for row in assets])
        identity = {
            "schema": SCHEMA,
            "kind": kinds.pop(),
            "generator": self.generator,
            "config_hash": self.config_hash,
            "checkpoint_hash": self.checkpoint_hash,
            "licence": self.licence,
            "seed": self.seed,
            "class": self.name,
        }
        contents = [[row["id"], row["dims"], row["sha256"]] for row in assets]
        digest = hashlib.sha256(json.dumps([identity, contents], sort_keys=True).encode()).hexdigest()
        return {
            **identity,
            "hash": digest,
            "dims": {"mean": dims.mean(0).round(6).tolist(), "std": dims.std(0).round(6).tolist()},
            "shards": shards,
            "assets": [{key: value for key, value in row.items() if key != "kind"} for row in assets],
        }

    def abort(self) -> None:
        """Give up: close and remove what this rank has written."""
        for shard in self._shards:
            for handle in shard.handles.values():
                handle.close()
        for path in self._work.glob(f"rank{self.rank:03d}-*"):
            path.unlink()
        if not any(self._work.iterdir()):
            self._work.rmdir()

    def __enter__(self) -> AssetBankWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _header(shape: tuple[int, ...], dtype: str) -> bytes:
    """A version 1.0 .npy header of :data:`HEADER_BYTES` bytes."""
    fields = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}".encode("latin1")
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + fields.ljust(length - 1) + b"\n"


def _replace_folder(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; an older folder there is set aside first and removed last."""
    aside = target.parent / f".{target.name}.old"
    if aside.exists():
        shutil.rmtree(aside)
    if target.exists():
        os.replace(target, aside)
    os.replace(source, target)
    shutil.rmtree(aside, ignore_errors=True)
