"""Banks: round trip, hash, merge of ranks, damage, interrupted writers."""

from __future__ import annotations

import errno
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.assets import bank_folder
from datamodules.assets.bank import AssetBank, AssetBankWriter
from datamodules.assets.contract import AssetSource
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.files.checksums import CHECKSUMS
from datamodules.geometry import Camera
from datamodules.randomness import derive
from datamodules.scene import Frame, Objects

FRAME = Frame(np.zeros((3, 4, 4), np.uint8), Camera(np.eye(3, 4), 4, 4), Objects.empty(), "0")


def voxels(number: int, shape: tuple[int, int, int] = (8, 6, 4), name: str = "Car") -> VoxelAsset:
    rng = derive(7, number)
    grid = rng.integers(0, 256, (*shape, 4), dtype=np.uint8)
    return VoxelAsset(f"car{number:03d}", name, rng.uniform(1, 4, 3), grid)


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
    return AssetBank(folder)


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
    assert bank.index.licence == "CC0"
    np.testing.assert_allclose(
        bank.index.classes["Car"].mean, np.mean([voxels(i).dims for i in range(5)], 0), atol=1e-5
    )
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


def test_objects_of_one_photograph_are_shown_from_near_its_side(tmp_path: Path) -> None:
    seen = np.deg2rad([[-80.0, 4.0], [260.0, 4.0]])
    asset = replace(voxels(0), seen=seen)
    with AssetBankWriter(tmp_path / "bank", "g3dr") as writer:
        writer.write(asset)
        writer.write(voxels(1))
    hashes = set()
    for limit in (None, 20.0):
        bank = AssetBank(tmp_path / "bank", max_turn=limit)
        np.testing.assert_allclose(bank[0].seen, seen, atol=1e-4)  # type: ignore[attr-defined]
        assert bank[1].visibility.everywhere
        assert bank[0].visibility.everywhere == (limit is None)
        hashes.add(bank.hash)
    assert len(hashes) == 1
    alpha = np.deg2rad([-95.0, -65.0, -50.0, 90.0, 250.0])
    assert bank[0].visibility.within(alpha, np.zeros(5)).any(1).tolist() == [True, True, False, False, True]
    with pytest.raises(InputError, match=r"max_turn 200: expected degrees in \(0, 180\]"):
        AssetBank(tmp_path / "bank", max_turn=200)
    write(tmp_path / "other")
    with pytest.raises(InputError, match="does not say from where its objects were photographed"):
        AssetBank(tmp_path / "other", max_turn=20.0)


def test_round_trip_of_views(tmp_path: Path) -> None:
    with AssetBankWriter(tmp_path / "bank", "dst3d") as writer:
        writer.write(views(0))
        writer.write(views(1))
    asset = AssetBank(tmp_path / "bank")[1]
    assert isinstance(asset, ViewAsset)
    np.testing.assert_array_equal(asset.rgba, views(1).rgba)
    np.testing.assert_array_equal(asset.depth, views(1).depth)
    np.testing.assert_array_equal(asset.projection, views(1).projection)
    wide = AssetBank(tmp_path / "bank", max_angle=40.0)[1]
    assert isinstance(wide, ViewAsset)
    assert (asset.max_angle, wide.max_angle) == (15.0, 40.0)
    with pytest.raises(InputError, match=r"max_angle 0.*source\.max_angle"):
        AssetBank(tmp_path / "bank", max_angle=0.0)


def test_rows_keep_class_caption_score_source_and_licence(tmp_path: Path) -> None:
    with AssetBankWriter(tmp_path / "bank", "x", licence="CC0", source="photos") as writer:
        writer.write(voxels(1, name="Pedestrian"), caption="a man, walking", score=0.5, source="a.png", licence="CC-BY")
        writer.write(voxels(2))
        writer.write(voxels(3, name="Pedestrian"))
    bank = AssetBank(tmp_path / "bank")
    assert bank.classes == ("Car", "Pedestrian")
    assert [bank[i].name for i in range(3)] == ["Pedestrian", "Car", "Pedestrian"]
    assert {name: dims.count for name, dims in bank.index.classes.items()} == {"Car": 1, "Pedestrian": 2}
    first, second = bank.index.assets[:2]
    assert (first.caption, first.score, first.source, first.licence) == ("a man, walking", 0.5, "a.png", "CC-BY")
    assert (second.caption, second.score, second.source, second.licence) == ("", None, "photos", "CC0")
    with (
        pytest.raises(InputError, match=r"asset 'car004'.*caption"),
        AssetBankWriter(tmp_path / "other", "x") as writer,
    ):
        writer.write(voxels(4), caption="\x1b[31m")
    with AssetBankWriter(tmp_path / "again", "x", licence="CC0", source="photos") as writer:
        for number in (1, 2, 3):
            writer.write(voxels(number))
    assert AssetBank(tmp_path / "again").hash != bank.hash


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
    ranks = [AssetBankWriter(tmp_path / "two", "lift3d", "c0ffee", "beef", "CC0", 0, "", r, 2) for r in range(2)]
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


def test_shards_of_a_killed_writer_with_more_ranks_go(tmp_path: Path) -> None:
    for rank in (1, 2):  # rank 0 was killed, its lock went with it
        killed = AssetBankWriter(tmp_path / "bank", "old", rank=rank, world_size=3)
        killed.write(voxels(rank))
        killed.close()
    with AssetBankWriter(tmp_path / "bank", "new") as writer:
        writer.write(voxels(7))
    assert AssetBank(tmp_path / "bank").ids == [voxels(7).id]
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == [
        "bank.json", "checksums.json", "rank000-shard000-grid.npy",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


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
    shard = tmp_path / "bank" / bank.index.shards[0]["grid"].file
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
    (tmp_path / "bank" / CHECKSUMS).unlink()  # as a writer of one's own leaves it
    index = tmp_path / "bank" / "bank.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "schema": 99}))
    with pytest.raises(InputError, match=r"bank\.json, \$\.schema.* expected an asset bank of schema 2"):
        AssetBank(tmp_path / "bank")
    index.write_text("{")
    with pytest.raises(InputError, match="line 1"):
        AssetBank(tmp_path / "bank")
    with pytest.raises(InputError, match=r"bank\.json: not found; expected an asset bank"):
        AssetBank(tmp_path / "nothing")


def test_a_bank_of_one_class_for_all_rows_is_read_where_it_holds_voxels(tmp_path: Path) -> None:
    write(tmp_path / "bank")
    (tmp_path / "bank" / CHECKSUMS).unlink()  # as a writer of one's own leaves it
    index = tmp_path / "bank" / "bank.json"
    stored = json.loads(index.read_text())
    old = {**stored, "schema": 1, "class": "Van"}
    del old["classes"]
    for row in old["assets"]:
        del row["class"]
    index.write_text(json.dumps(old))
    bank = AssetBank(tmp_path / "bank")
    assert (bank[1].name, bank.classes) == ("Van", ("Van",))
    index.write_text(json.dumps({**old, "kind": "views"}))
    with pytest.raises(InputError, match=r"\$\.schema.*not compressed.*write"):
        AssetBank(tmp_path / "bank")
    index.write_text(json.dumps({**stored, "class": "Van"}))
    with pytest.raises(InputError, match=r"bank\.json, \$\.assets\[0\]: .*missing required field `class`"):
        AssetBank(tmp_path / "bank")


def write_changed(folder: Path, place: tuple[str | int, ...], value: object) -> None:
    """Write a bank with one value of its index changed, as a writer of one's own leaves it: without checksums."""
    write(folder)
    (folder / CHECKSUMS).unlink()
    path = folder / "bank.json"
    index = json.loads(path.read_text())
    at = index
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("assets", 1, "id"), -1, r"\$\.assets\[1\]\.id"),
        (("assets", 1, "id"), "car000", r"\$\.assets\[1\].*unique"),
        (("assets", 0, "class"), 0, r"\$\.assets\[0\]\.class"),
        (("assets", 0, "dims", 0), 1 << 70, r"\$\.assets\[0\]\.dims\[0\]"),
        (("assets", 0, "dims", 2), "nan", r"\$\.assets\[0\]\.dims\[2\]"),
        (("assets", 0, "dims"), [1, 2, 3, 4], r"\$\.assets\[0\]\.dims"),
        (("assets", 0, "index"), 9, r"\$\.assets\[0\]"),
        (("assets", 0, "shard"), 1, r"\$\.assets\[0\]"),
        (("assets", 0), None, r"\$\.assets\[0\]"),
        (("assets",), [], r"\$\.assets"),
        (("hash",), 2, r"\$\.hash"),
        (("kind",), "clouds", r"\$\.kind"),
        (("shards",), "", r"\$\.shards"),
        (("shards", 0), {}, r"\$\.shards\[0\]"),
        (("shards", 0, "grid", "file"), "../grid.npy", r"\$\.shards\[0\]\[\.\.\.\]\.file"),
        (("shards", 0, "grid", "shape"), [5, 8, 6], r"\$\.shards\[0\]"),
        (("classes",), {"Van": {"count": 5, "mean": [1, 1, 1], "std": [0, 0, 0]}}, r"\$\.classes"),
    ],
)
def test_an_index_of_the_wrong_shape_names_the_field(
    tmp_path: Path, place: tuple[str | int, ...], value: object, field: str
) -> None:
    write_changed(tmp_path / "bank", place, value)
    with pytest.raises(InputError, match=rf"bank\.json, {field}.*python -m lit predict") as caught:
        AssetBank(tmp_path / "bank")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["grid", "rgba", "rgba_table", "depth", "depth_table", "projection"])
def test_damaged_shards_are_refused(tmp_path: Path, key: str) -> None:
    def look() -> None:
        bank = AssetBank(tmp_path / "bank")
        for number in range(2):
            asset = bank[number]
            if isinstance(asset, ViewAsset):
                np.asarray(asset.rgba), np.asarray(asset.depth)

    with AssetBankWriter(tmp_path / "bank", "x") as writer:
        for number in range(2):
            writer.write(voxels(number) if key == "grid" else views(number))
    path = tmp_path / "bank" / AssetBank(tmp_path / "bank").index.shards[0][key].file
    whole = path.read_bytes()
    start = 0 if path.suffix == ".bin" else 320
    for position in np.linspace(start, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 8]) + whole[position + 1 :])
        with pytest.raises(InputError, match=r"(-grid\.npy|\.bin): .*copy") as caught:
            look()
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    look()


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
    with pytest.raises(InputError, match="writes there, expected the bank 'bank'"):
        AssetBankWriter(tmp_path / "bank", "third")
    del killed  # the system frees its lock
    assert write(tmp_path / "bank", count=3).hash != old.hash
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


@pytest.mark.parametrize("finished", [True, False])
def test_a_kill_between_two_renames_is_mended(tmp_path: Path, finished: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = write(tmp_path / "bank", 2).hash, write(tmp_path / "new", 3).hash
    monkeypatch.setattr(bank_folder, "_exchange", lambda *_: False)  # a file system without exchange
    assert write(tmp_path / "bank", 2).hash == old
    (tmp_path / "bank").rename(tmp_path / ".bank.old")
    if finished:
        (tmp_path / "new").rename(tmp_path / ".bank.writing")
    assert AssetBank(tmp_path / "bank").hash == (new if finished else old)
    with pytest.raises(InputError, match="not found; expected an asset bank"):
        AssetBank(tmp_path / "none")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("assets", 0, "dims", 0), 3.5, r"\$\.classes: statistics differ"),
        (("seed",), 1, r"\$\.hash: header and rows differ"),
        (("assets", 1, "sha256"), "0" * 64, r"\$\.hash: header and rows differ"),
        (("hash",), "0" * 64, r"\$\.hash: header and rows differ"),
        (("classes", "Car", "mean", 0), 3.5, r"\$\.classes: statistics differ"),
        (("classes", "Car", "count"), 6, r"\$\.classes: statistics differ"),
    ],
)
def test_a_changed_number_differs_from_the_hash(
    tmp_path: Path, place: tuple[str | int, ...], value: object, said: str
) -> None:
    write_changed(tmp_path / "bank", place, value)
    with pytest.raises(InputError, match=said.replace(": ", ".*")):
        AssetBank(tmp_path / "bank")


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = AssetBankWriter(tmp_path / "bank", "x")
    writer.write(voxels(0))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"bank: cannot be written \(No space left on device\)"):
        writer.close()


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
    with pytest.raises(InputError, match=r"'car000'.*unique"):
        writer.write(voxels(0))
    ranks = [AssetBankWriter(tmp_path / "ranks", "x", rank=r, world_size=2) for r in range(2)]
    for rank in ranks:
        rank.write(voxels(0))
        rank.close()
    with pytest.raises(InputError, match=r"two ranks wrote an asset 'car000'.*name them apart"):
        ranks[0].merge()


def test_a_refused_asset_leaves_the_bank_as_it_was(tmp_path: Path) -> None:
    with AssetBankWriter(tmp_path / "bank", "x", seed=np.int64(3)) as writer:  # type: ignore[arg-type]
        for score in ("good", [0.5, 0.5], float("nan")):
            with pytest.raises(InputError, match=r"'car000'.*\$\.score"):
                writer.write(views(0), score=score)  # type: ignore[arg-type]
        writer.write(views(1), score=np.float32(0.5))  # type: ignore[arg-type]
    bank = AssetBank(tmp_path / "bank")
    assert (bank.ids, bank.index.seed, len(bank.index.shards)) == (["car001"], 3, 1)


def test_a_header_that_no_bank_may_hold_is_refused_at_once(tmp_path: Path) -> None:
    for header in ({"generator": "\x1b[31m"}, {"seed": "3"}, {"seed": 1.5}, {"licence": None}):
        with pytest.raises(InputError, match=rf"header of a bank.*\$\.{next(iter(header))}"):
            AssetBankWriter(tmp_path / "bank", **{"generator": "x", **header})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_any_change_of_the_index_differs_from_its_checksum(tmp_path: Path) -> None:
    write(tmp_path / "bank")
    path = tmp_path / "bank" / "bank.json"
    index = json.loads(path.read_text())
    shard = next(iter(index["shards"][0].values()))
    path.write_text(path.read_text().replace(f'"file": "{shard["file"]}"', '"file": "other.npy"'))
    with pytest.raises(InputError, match=r"bank\.json: differs from its checksum"):
        AssetBank(tmp_path / "bank")
