"""A bank of assets as a folder: one JSON file and arrays that workers map into memory.

:mod:`datamodules.assets.bank_writer` describes the files. Nothing is pickled, and what is read is compared with its
recorded hash the first time a process looks at it: 1 ms for a grid of 128 x 52 x 56, 0.2 ms for a view of 512 pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.bank_folder import recover
from datamodules.assets.bank_index import BANK_KIND, INDEX, BankIndex, BankRow, StoredArray, content_hash
from datamodules.assets.bank_writer import HEADER_BYTES
from datamodules.assets.bank_writer import AssetBankWriter as AssetBankWriter
from datamodules.assets.compressed_views import TABLE, CompressedViews
from datamodules.assets.contract import Asset, AssetSource, Wanted
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.visibility import EVERYWHERE, Visibility
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.files.typed_json import read_json
from datamodules.scene import Frame

REMAKE = "copy it again or write it again with `python -m lit predict`"
TYPES = {"projection": np.dtype(np.float64), "rgba_table": TABLE, "depth_table": TABLE}  # others: bytes
PICTURES: dict[str, np.dtype[Any]] = {"rgba": np.dtype(np.uint8), "depth": np.dtype(np.float16)}


class AssetBank(AssetSource):
    """A bank that was written completely; an asset source that draws uniformly.

    Attributes:
        folder: where it lies.
        index: the parsed ``bank.json``, with a row an asset: class, caption, score, source, licence.
        hash: hash of everything that defines the bank's contents; the same seed gives the same hash.
        classes: class names of its objects, in alphabetical order; ``index.classes`` has their statistics.
        ids: of all assets.
    """

    classes: tuple[str, ...] = ()

    def __init__(
        self,
        folder: str | Path,
        cache: int = 64,
        max_angle: float = ViewAsset.max_angle,
        max_turn: float | None = None,
    ) -> None:
        """Open a bank and check that it is whole.

        Args:
            folder: the bank's folder.
            cache: how many assets stay ready for rendering (a grid of 128 x 52 x 56 takes 1.5 MB).
            max_angle: degrees that a camera may be off a view (:class:`ViewAsset`), of banks of views.
            max_turn: degrees that a camera may be off the side an object was photographed from, of banks of objects
                made of one photograph; None shows them from all around.

        Raises:
            InputError: an angle out of range, a limit of turns for a bank that knows no such sides, no bank there, an
                index that is damaged or of another schema, or a shard of another size than the index says.
        """
        if not 0 < max_angle <= 180:
            raise InputError(f"max_angle {max_angle:g}: expected degrees in (0, 180]; correct source.max_angle")
        if max_turn is not None and not 0 < max_turn <= 180:
            raise InputError(f"max_turn {max_turn:g}: expected degrees in (0, 180], or null; correct source.max_turn")
        self.folder, self.max_angle, self.max_turn = Path(folder), max_angle, max_turn
        recover(self.folder)
        self.index = read_json(self.folder / INDEX, BankIndex, BANK_KIND)
        if not self.index.is_as_written():
            raise InputError(
                f"{self.folder / INDEX}, $.hash: header and rows differ from the recorded hash; expected {BANK_KIND}"
            )
        if max_turn is not None and not any(row.seen for row in self.index.assets):
            raise InputError(
                f"{self.folder}: does not say from where its objects were photographed, which max_turn {max_turn:g} "
                "needs; write a bank of single photographs (`predict` of G3DR) again, or set source.max_turn to null"
            )
        self.hash, self.classes = self.index.hash, tuple(sorted(self.index.classes))
        self.ids = [row.id for row in self.index.assets]
        for row in self.index.assets:
            row.source, row.licence = row.source or self.index.source, row.licence or self.index.licence
        self._capacity = cache
        self._reset()
        for number, shard in enumerate(self.index.shards):
            for array in shard.values():
                _check_size(self.folder / array.file, array.bytes, number)

    def _reset(self) -> None:
        self._arrays: dict[int, dict[str, np.ndarray]] = {}
        self._intact: set[int] = set()
        self._ready = lru_cache(self._capacity)(self._load)

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes map the shards themselves."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_arrays", "_intact", "_ready"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        return len(self.index.assets)

    def __getitem__(self, number: int) -> Asset:
        return self._ready(number)

    def _load(self, number: int) -> Asset:
        row = self.index.assets[number]
        dims = np.array(row.dims, dtype=np.float64)
        arrays = self._asset_arrays(row)
        if number not in self._intact:
            if content_hash(arrays) != row.sha256:
                file = next(iter(self.index.shards[row.shard].values())).file
                raise InputError(f"{self.folder / file}: asset {row.id} differs from its recorded sha256; {REMAKE}")
            self._intact.add(number)
        if self.index.kind == "voxels":
            return VoxelAsset(row.id, row.name, dims, np.asarray(arrays["grid"]), *self._sides(row))
        projection = np.asarray(arrays["projection"])
        return ViewAsset(row.id, row.name, dims, arrays["rgba"], arrays["depth"], projection, self.max_angle)

    def _sides(self, row: BankRow) -> tuple[np.ndarray, Visibility]:
        """The directions an object was photographed from, and those it may be seen from."""
        seen = np.deg2rad(np.array(row.seen, np.float64).reshape(-1, 2))
        if self.max_turn is None or not row.seen:
            return seen, EVERYWHERE
        return seen, Visibility.around(seen[:, 0], seen[:, 1], np.deg2rad(self.max_turn))

    def _asset_arrays(self, row: BankRow) -> dict[str, np.ndarray | CompressedViews]:
        shard, stored = self._shard(row.shard), self.index.shards[row.shard]
        if self.index.kind == "voxels":
            return {"grid": shard["grid"][row.index]}
        found: dict[str, np.ndarray | CompressedViews] = {"projection": shard["projection"][row.index]}
        for key, dtype in PICTURES.items():
            shape, file = tuple(stored[key].shape[1:]), str(self.folder / stored[key].file)
            found[key] = CompressedViews(shard[key], shard[f"{key}_table"][row.index], shape, dtype, file)
        return found

    def _shard(self, number: int) -> dict[str, np.ndarray]:
        if number not in self._arrays:
            self._arrays[number] = {
                key: _mapped(self.folder / array.file, key, array) for key, array in self.index.shards[number].items()
            }
        return self._arrays[number]

    @property
    def pool(self) -> int:
        """Its objects (see ``AssetSource.pool``)."""
        return len(self)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw one asset uniformly (:meth:`datamodules.assets.contract.AssetSource.sample`)."""
        return self[int(rng.integers(len(self)))]


def _mapped(path: Path, key: str, array: StoredArray) -> np.ndarray:
    """A file's array, or the bytes of compressed pictures, mapped into memory; the index says type and shape."""
    if key in PICTURES:
        return np.memmap(path, np.uint8, "r")
    dtype = TYPES.get(key, np.dtype(np.uint8))
    header = array.bytes - math.prod(array.shape) * dtype.itemsize  # of the .npy file
    if not 0 < header <= HEADER_BYTES:
        raise InputError(f"{path}: {array.bytes} bytes, expected {dtype} of shape {array.shape}; {REMAKE}")
    return np.memmap(path, dtype, "r", header, tuple(array.shape))


def _check_size(path: Path, expected: int, number: int) -> None:
    if not path.is_file():
        raise InputError(f"{path}: shard {number} of the bank is missing, expected {expected} bytes; {REMAKE}")
    actual = path.stat().st_size
    if actual != expected:
        raise InputError(f"{path}: shard {number} has {actual} bytes, expected {expected}; {REMAKE}")
