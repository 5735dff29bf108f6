"""Banks: round trip, hash, merge of ranks, damage, interrupted writers."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.bank import AssetBank, AssetBankWriter
from datamodules.assets.contract import AssetSource
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.geometry import Camera
from datamodules.randomness import derive
from datamodules.scene import Frame, Objects

FRAME = Frame(np.zeros((3, 4, 4), np.uint8), Camera(np.eye(3, 4), 4, 4), Objects.empty(), "0")


def voxels(number: int, shape: tuple[int, int, int] = (8, 6, 4)) -> VoxelAsset:
    rng = derive(7, number)
    grid = rng.integers(0, 256, (*shape, 4), dtype=np.uint8)
    return VoxelAsset(f"car{number:03d}", "Car", rng.uniform(1, 4, 3), grid)


def views(number: int) -> ViewAsset:
    rng = derive(8, number)
    return ViewAsset(
        f"car{number:03d}",
        "Car",
        rng.uniform(1, 4, 3),
        rng.integers(0, 256, (3, 6, 6, 4), dtype=np.uint8),
        rng.uniform(2, 5, (3, 6, 6)).astype(np.float16),
        rng.normal(size=(3, 3, 4)),
    )


def write(folder: Path, count: int = 5, seed: int = 0) -> AssetBank:
    with AssetBankWriter(folder, "lift3d", "c0ffee", "beef", "CC0", seed) as writer:
        for number in range(count):
            writer.write(voxels(number))
    return AssetBank.open(folder)


def test_round_trip_of_voxels(tmp_path: Path) -> None:
    bank = write(tmp_path / "bank")
    assert isinstance(bank, AssetSource)
    assert len(bank) == 5
    for number in range(5):
        asset, truth = bank[number], voxels(number)
        assert isinstance(asset, VoxelAsset)
        assert asset.id == truth.id
        np.testing.assert_array_equal(asset.grid, truth.grid)
        np.testing.assert_array_equal(asset.dims, truth.dims)
    assert bank.index["licence"] == "CC0"
    np.testing.assert_allclose(bank.index["dims"]["mean"], np.mean([voxels(i).dims for i in range(5)], 0), atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


def test_round_trip_of_views(tmp_path: Path) -> None:
    with AssetBankWriter(tmp_path / "bank", "dst3d") as writer:
        writer.write(views(0))
        writer.write(views(1))
    asset = AssetBank(tmp_path / "bank")[1]
    assert isinstance(asset, ViewAsset)
    np.testing.assert_array_equal(asset.rgba, views(1).rgba)
    np.testing.assert_array_equal(asset.depth, views(1).depth)
    np.testing.assert_array_equal(asset.projection, views(1).projection)


def test_grids_of_several_shapes(tmp_path: Path) -> None:
    shapes = [(8, 6, 4), (10, 6, 4), (8, 6, 4)]
    with AssetBankWriter(tmp_path / "bank", "x") as writer:
        for number, shape in enumerate(shapes):
            writer.write(voxels(number, shape))
    bank = AssetBank(tmp_path / "bank")
    assert [bank[i].grid.shape[:3] for i in range(3)] == shapes  # type: ignore[attr-defined]


def test_hash_depends_on_contents_only(tmp_path: Path) -> None:
    first, again = write(tmp_path / "a"), write(tmp_path / "b")
    assert first.hash == again.hash
    assert write(tmp_path / "c", count=4).hash != first.hash
    assert write(tmp_path / "d", seed=1).hash != first.hash


def test_ranks_merge_to_the_same_bank(tmp_path: Path) -> None:
    alone = write(tmp_path / "alone")
    ranks = [AssetBankWriter(tmp_path / "two", "lift3d", "c0ffee", "beef", "CC0", 0, "Car", r, 2) for r in range(2)]
    for number in range(5):
        ranks[number % 2].write(voxels(number))
    ranks[1].close()
    with pytest.raises(InputError, match="rank 0"):
        ranks[1].merge()
    ranks[0].close()
    ranks[0].merge()
    bank = AssetBank(tmp_path / "two")
    assert bank.hash == alone.hash
    np.testing.assert_array_equal(bank[3].grid, voxels(3).grid)  # type: ignore[attr-defined]


def test_sampling_uses_only_the_generator(tmp_path: Path) -> None:
    bank = write(tmp_path / "bank")
    draws = [[bank.sample(derive(0, "x", i), FRAME).id for i in range(20)] for _ in range(2)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 5


def test_travels_to_workers_without_its_arrays(tmp_path: Path) -> None:
    bank = write(tmp_path / "bank")
    bank[0]
    packed = pickle.dumps(bank)
    assert len(packed) < 5000
    np.testing.assert_array_equal(pickle.loads(packed)[0].grid, bank[0].grid)  # type: ignore[attr-defined]


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    bank = write(tmp_path / "bank")
    shard = tmp_path / "bank" / bank.index["shards"][0]["grid"]["file"]
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError) as caught:
        AssetBank(tmp_path / "bank")
    message = str(caught.value)
    assert shard.name in message
    assert str(size) in message
    assert str(size - 100) in message
    assert "\n" not in message
    shard.unlink()
    with pytest.raises(InputError, match="missing"):
        AssetBank(tmp_path / "bank")


def test_other_schema_and_no_bank(tmp_path: Path) -> None:
    write(tmp_path / "bank")
    index = tmp_path / "bank" / "bank.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "schema": 99}))
    with pytest.raises(InputError, match=r"version 99, expected 1"):
        AssetBank(tmp_path / "bank")
    index.write_text("{")
    with pytest.raises(InputError, match="line 1"):
        AssetBank(tmp_path / "bank")
    with pytest.raises(InputError, match=r"no bank\.json"):
        AssetBank(tmp_path / "nothing")


def test_interrupted_writer_leaves_no_bank_and_keeps_the_old_one(tmp_path: Path) -> None:
    def interrupted() -> None:
        with AssetBankWriter(tmp_path / "bank", "lift3d") as writer:
            writer.write(voxels(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    old = write(tmp_path / "bank")
    killed = AssetBankWriter(tmp_path / "bank", "other")  # never closed, as after a kill
    killed.write(voxels(9))
    assert AssetBank(tmp_path / "bank").hash == old.hash
    assert write(tmp_path / "bank", count=3).hash != old.hash
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


def test_refuses_foreign_folders_mixed_kinds_and_equal_ids(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match="no asset bank"):
        AssetBankWriter(tmp_path / "photos", "x")
    writer = AssetBankWriter(tmp_path / "mixed", "x")
    writer.write(voxels(0))
    writer.write(views(1))
    with pytest.raises(InputError, match="one kind"):
        writer.close()
    writer = AssetBankWriter(tmp_path / "twice", "x")
    writer.write(voxels(0))
    writer.write(voxels(0))
    with pytest.raises(InputError, match="unique"):
        writer.close()
