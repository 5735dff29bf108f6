"""A bank of assets as a folder: one JSON file and uint8 or float arrays that workers map into memory.

``bank.json`` holds the schema version, the generator and the hashes of its configuration and checkpoint, licence, seed,
class, dims statistics, the shards (file names, shapes, bytes) and a row per asset. A shard is one ``.npy`` file an
array: ``grid`` for voxels; ``rgba``, ``depth`` and ``projection`` for posed views. Nothing is pickled. The folder
appears in one rename when it is complete (:class:`datamodules.assets.bank_writer.AssetBankWriter`), so there is no
half-written bank.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.bank_writer import INDEX, SCHEMA
from datamodules.assets.bank_writer import AssetBankWriter as AssetBankWriter
from datamodules.assets.contract import Asset, AssetSource, Wanted
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.scene import Frame

REMAKE = "write it again with `python -m lit predict`"


class AssetBank(AssetSource):
    """A bank that was written completely; an asset source that draws uniformly.

    Attributes:
        folder: where it lies.
        index: the parsed ``bank.json``.
        hash: hash of everything that defines the bank's contents; the same seed gives the same hash.
    """

    def __init__(self, folder: str | Path, cache: int = 64) -> None:
        """Open a bank and check that it is whole.

        Args:
            folder: the bank's folder.
            cache: how many assets stay ready for rendering (a grid of 128 x 52 x 56 takes 1.5 MB).

        Raises:
            InputError: no bank there, another schema version, or a shard of another size than the index says.
        """
        self.folder = Path(folder)
        self.index = _read_index(self.folder)
        self.hash: str = self.index["hash"]
        self._capacity = cache
        self._reset()
        for number, shard in enumerate(self.index["shards"]):
            for array in shard.values():
                _check_shard(self.folder / array["file"], array["bytes"], number)

    @classmethod
    def open(cls, folder: str | Path, cache: int = 64) -> AssetBank:
        """Open a bank (the constructor, spelt as an action)."""
        return cls(folder, cache)

    def _reset(self) -> None:
        self._arrays: dict[int, dict[str, np.ndarray]] = {}
        self._cache: OrderedDict[int, Asset] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes map the shards themselves."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_arrays", "_cache", "_lock"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        return len(self.index["assets"])

    @property
    def name(self) -> str:
        """Class name of its objects."""
        return self.index["class"]

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def ids(self) -> list[str]:
        """Ids of all assets."""
        return [row["id"] for row in self.index["assets"]]

    def __getitem__(self, number: int) -> Asset:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        asset = self._load(number)
        with self._lock:
            self._cache[number] = asset
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
        return asset

    def _load(self, number: int) -> Asset:
        row = self.index["assets"][number]
        arrays = {name: array[row["index"]] for name, array in self._shard(row["shard"]).items()}
        dims = np.array(row["dims"], dtype=np.float64)
        if self.index["kind"] == "voxels":
            return VoxelAsset(row["id"], self.name, dims, arrays["grid"])
        return ViewAsset(row["id"], self.name, dims, arrays["rgba"], arrays["depth"], arrays["projection"])

    def _shard(self, number: int) -> dict[str, np.ndarray]:
        if number not in self._arrays:
            shard = self.index["shards"][number]
            self._arrays[number] = {
                name: np.load(self.folder / array["file"], mmap_mode="r", allow_pickle=False)
                for name, array in shard.items()
            }
        return self._arrays[number]

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw one asset uniformly (:meth:`datamodules.assets.contract.AssetSource.sample`)."""
        return self[int(rng.integers(len(self)))]


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise InputError(f"{folder}: expected an asset bank, found no {INDEX}; {REMAKE} or correct the path")
    try:
        index = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: expected JSON ({error.msg}); {REMAKE}") from None
    found = index.get("schema") if isinstance(index, dict) else None
    if found != SCHEMA:
        raise InputError(f"{path}: bank schema version {found}, expected {SCHEMA}; {REMAKE}")
    if not index["assets"]:
        raise InputError(f"{path}: the bank holds no assets, expected at least one; {REMAKE}")
    return index


def _check_shard(path: Path, expected: int, number: int) -> None:
    if not path.is_file():
        raise InputError(
            f"{path}: shard {number} of the bank is missing, expected {expected} bytes; copy it again or {REMAKE}"
        )
    actual = path.stat().st_size
    if actual != expected:
        raise InputError(f"{path}: shard {number} has {actual} bytes, expected {expected}; copy it again or {REMAKE}")
