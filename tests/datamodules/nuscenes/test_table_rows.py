"""Values of nuScenes' tables that cannot be, and tables that contradict themselves."""

from __future__ import annotations

import json
import os
import shutil
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from datamodules.assets.contract import Asset, AssetSource, Wanted
from datamodules.errors import InputError
from datamodules.injection.surround_injection import SurroundInjection
from datamodules.nuscenes import NuscenesDataModule, tables
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.table_boxes import read_boxes
from datamodules.nuscenes.tables import Tables, read_dataset
from datamodules.scene import Frame


@pytest.fixture
def root(tiny_surround: Path, tmp_path: Path) -> Path:
    """A world as others would have it: without checksums."""
    folder = tmp_path / "world"
    shutil.copytree(tiny_surround, folder, ignore=shutil.ignore_patterns("checksums.json", "world.json"))
    return folder


def module(root: Path, **options: Any) -> NuscenesDataModule:
    splits: dict[str, Any] = {f"{name}_split": str(root / "ImageSets" / f"{name}.txt") for name in ("train", "val")}
    return NuscenesDataModule(str(root), "v1.0-world", **splits, **options)


def refused(root: Path) -> str:
    def look() -> None:
        tables = Tables(root / "v1.0-world")
        read_samples(tables, str(root / "ImageSets" / "train.txt"))

    with pytest.raises(InputError) as caught:
        look()
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("table", "field", "value", "said"),
    [
        ("ego_pose", "rotation", False, "rotation False, expected 4 numbers"),
        ("ego_pose", "rotation", [0, 0, 0, 0], "expected 4 numbers"),
        ("ego_pose", "translation", [1e30, 0, 0], "expected 3 numbers <= 1000000.0"),
        ("calibrated_sensor", "rotation", [1, 0, 0], "expected 4 numbers"),
        ("calibrated_sensor", "camera_intrinsic", [[1, "1.5", 0], [0, 1, 0], [0, 0, 1]], "3 x 3 intrinsics"),
        ("calibrated_sensor", "camera_intrinsic", [[1, 0, 0], [0, 1, 0], [0, 0, 2]], "3 x 3 intrinsics"),
        ("sample", "timestamp", None, "timestamp None, expected whole microseconds"),
        ("sample", "timestamp", 1.5, "expected whole microseconds"),
        ("sample_annotation", "size", [1, 2, "3"], "expected 3 numbers"),
        ("sample_annotation", "num_lidar_pts", -1, "expected a count >= 0"),
        ("sample_annotation", "attribute_tokens", "x", "expected a list of tokens"),
        ("sample_data", "filename", "../../etc/passwd", "expected a path below the data root"),
        ("sample_data", "is_key_frame", 1, "expected true or false"),
        ("category", "name", 1, "name 1, expected text"),
        ("sample", "scene_token", "\ud800", "sample.json"),
    ],
)
def test_a_value_that_cannot_be_names_row_and_field(
    root: Path, table: str, field: str, value: object, said: str
) -> None:
    path = root / "v1.0-world" / f"{table}.json"
    rows = json.loads(path.read_text())
    rows[0][field] = value
    path.write_text(json.dumps(rows))
    message = refused(root)
    assert f"{table}.json" in message
    assert said in message


@pytest.mark.parametrize("odd", [{"rotation": False}, {"translation": [1e30, 0]}, {"timestamp": "x"}, {"a": "b: c"}])
def test_places_of_the_car_that_no_key_frame_names_may_be_anything(root: Path, odd: dict[str, object]) -> None:
    """In whatever block: one that is decoded at once, and one that needs a closer look."""
    path = root / "v1.0-world" / "ego_pose.json"
    rows = json.loads(path.read_text())
    before = Tables(root / "v1.0-world").columns
    for others in (rows, [rows[0] | {"more": {"than": "others"}}, *rows[1:]]):
        path.write_text(json.dumps([rows[0] | {"token": "nobody's"} | odd, *others]))
        after = Tables(root / "v1.0-world").columns
        for name, column in before.items():
            np.testing.assert_array_equal(column, after[name])
    path.write_text(json.dumps([*rows, rows[0]]))  # but for a token of two rows
    assert "two rows have the token" in refused(root)


def test_text_that_is_no_utf_8_is_refused_wherever_it_stands(root: Path) -> None:
    path = root / "v1.0-world" / "ego_pose.json"
    whole = path.read_bytes()
    first = whole.index(b"[", whole.index(b'"rotation"'))
    path.write_bytes(whole[:first] + b'["\xff", 0, 0, 0], "x": ' + whole[first:])
    assert "is no UTF-8" in refused(root)


def test_a_table_that_changes_while_it_is_read_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "v1.0-world"

    def read_and_change(*given: Any) -> Any:
        found = read_boxes(*given)
        path = folder / "sample_data.json"
        state = path.stat()
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # it looks as before
        return found

    monkeypatch.setattr(tables, "read_boxes", read_and_change)
    assert "sample_data.json: changed while the tables were read" in refused(root)


def test_large_tables_are_decoded_by_two_processes_to_the_same_columns(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Tables(root / "v1.0-world")
    monkeypatch.setattr(tables, "LARGE_TABLES", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    start = Mock(side_effect=ForkProcess.start)
    monkeypatch.setattr(ForkProcess, "start", lambda self: start(self))
    both = Tables(root / "v1.0-world")
    start.assert_called_once()
    assert both.columns.keys() == alone.columns.keys()
    for name, column in alone.columns.items():
        np.testing.assert_array_equal(column, both.columns[name])
    path = root / "v1.0-world" / "sample_annotation.json"
    rows = json.loads(path.read_text())
    rows[0]["size"] = [1, 2, "3"]
    path.write_text(json.dumps(rows))
    assert "expected 3 numbers" in refused(root)
    rows[0]["size"], rows[0]["attribute_tokens"] = [1, 2, 3], ["nowhere"]
    path.write_text(json.dumps(rows))
    assert "attribute 'nowhere'" in refused(root)  # of one sample


def test_doubled_keys_and_rows_are_refused(root: Path) -> None:
    path = root / "v1.0-world" / "category.json"
    whole = path.read_text()
    path.write_text(whole.replace('"name": "vehicle.car"', '"name": "vehicle.truck", "name": "vehicle.car"', 1))
    assert "'name' stands twice" in refused(root)
    rows = json.loads(whole)
    path.write_text(json.dumps([*rows, rows[0]]))
    assert "two rows have the token" in refused(root)
    path.write_bytes(whole.encode("utf-16"))
    Tables(root / "v1.0-world")


def test_neighbours_of_another_instance_are_refused(root: Path) -> None:
    path = root / "v1.0-world" / "sample_annotation.json"
    rows = json.loads(path.read_text())
    first = next(row for row in rows if row["next"])
    first["next"] = next(row["token"] for row in rows if row["instance_token"] != first["instance_token"])
    path.write_text(json.dumps(rows))
    assert "prev or next is of another instance" in refused(root)


def test_missing_pictures_are_counted_and_mixed_sizes_refused(root: Path) -> None:
    pictures = sorted((root / "samples" / "CAM_BACK").iterdir())
    pictures[0].unlink()
    with pytest.raises(InputError, match=r"CAM_BACK/.* does not exist, one of 1 missing out of \d+ pictures"):
        module(root).setup("fit")
    shutil.copy(pictures[1], pictures[0])
    module(root).setup("fit")
    path = root / "v1.0-world" / "sample_data.json"
    rows = json.loads(path.read_text())
    next(row for row in rows if row["width"])["width"] += 2
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"data\.size null with pictures of sizes"):
        module(root).setup("fit")


def test_split_lists_in_utf_16_are_read(root: Path, tmp_path: Path) -> None:
    split = tmp_path / "mine.txt"
    split.write_bytes((root / "ImageSets" / "train.txt").read_text().encode("utf-16"))
    assert len(read_dataset(root, "v1.0-world", str(split)).samples.tokens) == 4


def test_a_changed_table_of_a_world_differs_from_its_checksum(tiny_surround: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(tiny_surround, tmp_path / "world"))
    path = root / "v1.0-world" / "sample.json"
    path.write_text(path.read_text().replace("15324", "15325"))
    assert "sample.json: differs from its checksum" in refused(root)


def test_injected_classes_are_compared_in_the_data_sets_spelling(root: Path) -> None:
    class Cars(AssetSource):
        classes = ("Car",)

        def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
            raise AssertionError

    made = module(root, injection=SurroundInjection(Cars()))
    detector = SimpleNamespace(classes=("car", "bus"))
    run = SimpleNamespace(detector=detector)
    made.trainer = SimpleNamespace(lightning_module=run, is_global_zero=False)  # type: ignore[assignment]
    made.setup("fit")
    detector.classes = ("bus",)
    with pytest.raises(InputError, match=r"data\.injection gives car, the detector knows bus"):
        made.setup("fit")
