"""Tables decoded in blocks and mapped from a cache give what they give when decoded at once, and nothing else."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.nuscenes import table_cache, table_stream, tables
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.table_columns import Texts
from datamodules.nuscenes.table_stream import read_rows
from datamodules.nuscenes.tables import Tables, read_truth
from lit.commands.bench.starting.table_writer import VERSION, write_large_tables
from tests.datamodules.nuscenes_folder import write_folder

SPLIT = "mini_train"


def settle(folder: Path, seconds: float = 100.0) -> None:
    """Make tables old enough for a cache."""
    for path in folder.glob("*.json"):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = write_folder(tmp_path / "data") / "v1.0-mini"
    settle(place)
    return place


def same(one: Tables, other: Tables) -> bool:
    return one.columns.keys() == other.columns.keys() and all(
        np.array_equal(column, other.columns[name], equal_nan=column.dtype.kind == "f")
        for name, column in one.columns.items()
    )


@pytest.mark.parametrize("block", [64, 777, 5000])
def test_blocks_of_any_size_give_the_same_rows(folder: Path, block: int) -> None:
    for table in ("scene", "sample_data", "sample_annotation"):
        whole = [row for rows in read_rows(folder, table) for row in rows]
        assert [row for rows in read_rows(folder, table, block) for row in rows] == whole


def test_a_text_like_the_end_of_a_row_does_not_cut_it(tmp_path: Path) -> None:
    rows = [{"token": f"{k}", "name": 'a"},{"token": "b\\'} for k in range(40)]
    (tmp_path / "scene.json").write_text(json.dumps(rows))
    read = [row for block in read_rows(tmp_path, "scene", 100) for row in block]
    assert [(row.token, row.name) for row in read] == [(row["token"], row["name"]) for row in rows]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[: len(text) // 2], "not a nuScenes table"),
        (lambda text: text.replace('"is_key_frame": true', '"is_key_frame": 1', 1), "is_key_frame 1, expected true"),
        (lambda text: text.replace('"token"', '"token": "x", "token"', 1), "'token' stands twice"),
        (lambda text: text.replace('"token": "scene-0103 2 L', '"token": "scene-0061 0 L'), "two rows have the token"),
        (lambda text: "{" + text[1:], "not a nuScenes table"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_in_blocks_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: object, said: str
) -> None:
    monkeypatch.setattr(table_stream, "BLOCK", 300)
    path = folder / "sample_data.json"
    path.write_text(spoil(path.read_text()))  # type: ignore[operator]
    with pytest.raises(InputError, match=said) as caught:
        Tables(folder)
    assert str(caught.value).isprintable()


def test_bytes_that_are_no_text_are_refused_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "sample_data.json"
    content = path.read_bytes()
    for block in (table_stream.BLOCK, 300):
        monkeypatch.setattr(table_stream, "BLOCK", block)
        for place in (b"LIDAR_TOP True", b"0103 2 CAM_FRONT False"):
            path.write_bytes(content.replace(place, b"\xe0" + place, 1))
            with pytest.raises(InputError, match=rf"sample_data\.json: byte {content.index(place)} is no UTF-8"):
                Tables(folder)


def test_a_cache_gives_the_same_columns_and_is_read_the_second_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Tables(folder)
    first = Tables(folder, tmp_path / "cache")
    monkeypatch.setattr(tables, "read_columns", None)  # would fail
    second = Tables(folder, tmp_path / "cache")
    assert same(plain, first)
    assert same(plain, second)
    column = second.columns["box_geometry"]
    assert not column.flags.writeable
    assert same(pickle.loads(pickle.dumps(second)), plain)  # as for workers that are spawned
    assert len(pickle.dumps(second)) < 1000
    one, other = (read_truth(each, SPLIT) for each in (plain, second))
    np.testing.assert_array_equal(one.samples.boxes.rows, other.samples.boxes.rows)
    assert not (tmp_path / "data" / "v1.0-mini" / "nuscenes").exists()


def test_small_and_fresh_tables_are_not_cached(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    Tables(folder)
    settle(folder, -100.0)
    Tables(folder, tmp_path / "cache")
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / "cache").exists()
    settle(folder)
    monkeypatch.setattr(table_cache, "LARGE_TABLES", 0)
    Tables(folder)
    assert list((tmp_path / "home" / "liftbench" / "nuscenes").glob("v1.0-mini-*/*/columns.json"))


def test_other_tables_take_the_place_of_the_cache(folder: Path, tmp_path: Path) -> None:
    before = Tables(folder, tmp_path / "cache")
    path = folder / "category.json"
    path.write_text(path.read_text().replace("vehicle.car", "vehicle.bus.rigid"))
    settle(folder)
    after = Tables(folder, tmp_path / "cache")
    assert not same(before, after)
    assert same(after, Tables(folder))
    assert len(list((tmp_path / "cache" / "nuscenes").glob("*/*"))) == 1


def test_a_damaged_cache_or_one_of_other_tables_is_made_anew(folder: Path, tmp_path: Path) -> None:
    plain = Tables(folder)
    Tables(folder, tmp_path / "cache")
    (place,) = (tmp_path / "cache" / "nuscenes").glob("*/*")

    def flipped() -> None:
        path = place / "box_geometry.npy"
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)

    def foreign() -> None:
        path = place / "columns.json"
        path.write_text(path.read_text().replace(place.name, "0" * 16))

    for spoil, said in (
        (flipped, "box_geometry is damaged"),
        (foreign, "it is of other tables"),
        ((place / "racks.npy").unlink, "has not the columns racks"),
        (lambda: (place / "rig.npy").write_bytes(b"x"), "no cache of these tables"),
        (lambda: (place / "rig.npy").write_bytes(b""), "no cache of these tables"),
        ((place / "columns.json").unlink, "no cache of these tables"),
    ):
        spoil()
        with pytest.warns(UserWarning, match=said):
            assert same(Tables(folder, tmp_path / "cache"), plain)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert same(Tables(folder, tmp_path / "cache"), plain)


def test_a_folder_that_cannot_be_written_is_done_without(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.warns(UserWarning, match=r"cannot be written .* data\.table_cache names another folder"):
        assert same(Tables(folder, tmp_path / "cache"), Tables(folder))


def test_processes_that_start_together_decode_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    read = tables.read_columns

    def counted(place: Path) -> Any:
        decoded.append(place)
        return read(place)

    monkeypatch.setattr(tables, "read_columns", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Tables(folder, tmp_path / "cache"), range(4)))
    assert len(decoded) == 1
    assert all(same(one, found[0]) for one in found)


def test_what_is_wrong_with_one_scene_stays_with_it(folder: Path, tmp_path: Path) -> None:
    path = folder / "sample_annotation.json"
    rows = json.loads(path.read_text())
    for row in rows:
        if row["sample_token"] == "scene-0103 1":
            row["attribute_tokens"] = ["nowhere"]
    path.write_text(json.dumps(rows))
    settle(folder)
    for _ in range(2):  # decoded, and from the cache
        found = Tables(folder, tmp_path / "cache")
        assert len(read_truth(found, "mini_train").samples.tokens) == 4
        with pytest.raises(InputError, match="names attribute 'nowhere', which"):
            read_truth(found, "mini_val")


def test_samples_are_made_where_they_are_looked_at(tmp_path: Path) -> None:
    assert write_large_tables(tmp_path, 0.001) == 80
    found = Tables(tmp_path / VERSION)
    samples = read_samples(found, "train")
    assert len(samples) == 40
    assert len(samples[3:5]) == 2
    times = [sample.seconds for sample in samples]
    assert times == sorted(times)
    sample = samples[7]
    shot, truth = samples.shot(7, 2)
    assert (shot.channel, shot.file) == (sample.shots[2].channel, sample.shots[2].file)
    np.testing.assert_array_equal(shot.world, sample.shots[2].world)
    np.testing.assert_array_equal(truth.boxes.rows, sample.truth.boxes.rows)
    assert len(samples.files()) == 6 * 40
    assert set(samples.files()) == {str(shot.file.relative_to(tmp_path)) for one in samples for shot in one.shots}


def test_texts() -> None:
    words = ["", "scene-0061", "ü, 雪", ""]
    columns = Texts.columns("x", words)
    texts = Texts(columns["x"], columns["x_ends"])
    assert list(texts) == words
    assert texts[-2:] == words[-2:]
    assert texts.take(np.array([2, 0])) == [words[2], words[0]]
    with pytest.raises(IndexError):
        texts[4]
