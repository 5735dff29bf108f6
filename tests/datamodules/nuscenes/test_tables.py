"""Official nuScenes folders: what is read equals what the devkit loads, and a broken folder is refused in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import DatasetNotFound, InputError
from datamodules.nuscenes.boxes import ATTRIBUTE_NAMES, DETECTION_NAMES, GroundTruth
from datamodules.nuscenes.splits import RELEASES, scenes_of
from datamodules.nuscenes.table_boxes import CATEGORIES
from datamodules.nuscenes.table_stream import TABLES
from datamodules.nuscenes.tables import read_dataset
from tests.datamodules.nuscenes_folder import write_folder

REAL = Path(os.environ.get("LIFTBENCH_SHARED", "/nonexistent")) / "data" / "nuscenes_real"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def equals_devkit(root: Path, split: str) -> GroundTruth:
    """Read a v1.0-mini folder with both loaders."""
    nuscenes = pytest.importorskip("nuscenes")
    loaders = import_module("nuscenes.eval.common.loaders")
    box_type = import_module("nuscenes.eval.detection.data_classes").DetectionBox
    truth = read_dataset(root, "v1.0-mini", split)
    database = nuscenes.NuScenes("v1.0-mini", str(root), verbose=False)
    expected = loaders.add_center_dist(database, loaders.load_gt(database, split, box_type))
    assert list(truth.samples.tokens) == expected.sample_tokens
    for token, sample in truth.split().items():
        assert len(sample.boxes) == len(expected[token])
        for index, box in enumerate(expected[token]):
            one = sample.boxes[index : index + 1]
            numbers = [*box.translation, *box.size, *box.rotation, *box.velocity]
            np.testing.assert_array_equal(one.rows[0, :12], numbers)
            np.testing.assert_allclose(one.translation[0] - sample.ego_translation, box.ego_translation, rtol=1e-12)
            assert DETECTION_NAMES[one.labels[0]] == box.detection_name
            assert (ATTRIBUTE_NAMES[one.attributes[0]] if one.attributes[0] >= 0 else "") == box.attribute_name
            assert one.num_pts[0] == box.num_pts
    return truth


@pytest.mark.parametrize("split", ["mini_train", "mini_val"])
def test_equals_the_devkit(root: Path, split: str) -> None:
    truth = equals_devkit(root, split)
    assert len(truth.samples.tokens) == 4
    unknown = np.isnan(truth.samples.boxes.velocity[:, 0])
    assert unknown.any()
    assert not unknown.all()
    assert len(truth.bikeracks) == 8


def test_equals_the_devkit_on_a_real_frame() -> None:
    if not REAL.is_dir():
        pytest.skip("the real frame is not on this machine")
    assert len(equals_devkit(REAL, "mini_train").samples.boxes) > 50


def test_mapping_and_splits_are_the_devkits() -> None:
    pytest.importorskip("nuscenes")
    detection_name = import_module("nuscenes.eval.detection.utils").category_to_detection_name
    official = import_module("nuscenes.utils.splits").create_splits_scenes()
    assert set(RELEASES) == set(official)
    for split, scenes in official.items():
        assert scenes_of(split) == set(scenes)
    assert all(detection_name(category) == name for category, name in CATEGORIES.items())


def test_a_file_of_scene_names_is_a_split(root: Path, tmp_path: Path) -> None:
    split = tmp_path / "mine.txt"
    split.write_text("scene-0103\nscene-0061\n")
    truth = read_dataset(root, "v1.0-mini", str(split))
    assert len(truth.samples.tokens) == 8
    assert len(truth.samples.boxes) == 2 * 3 * 8
    split.write_text("scene-0103\nscene-0777\n")
    refused(root, "scene 'scene-0777' is not in", split=str(split))
    split.write_text("\n")
    refused(root, "holds no scene names", split=str(split))
    split.unlink()
    refused(
        root,
        "mine.txt: no such file (data.train_split and val_split do not follow data.root); expected one of train,",
        split=str(split),
    )
    refused(root, "split vla: expected one of train", split="vla")


def refused(root: Path, message: str, version: str = "v1.0-mini", split: str = "mini_train") -> None:
    with pytest.raises(InputError) as error:
        read_dataset(root, version, split)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_version_or_split(root: Path) -> None:
    refused(root, "v1.0-trainval does not exist", version="v1.0-trainval", split="val")
    refused(root, "found v1.0-mini; correct the folder or the version", version="v1.0-trainval", split="val")
    refused(root, "split val: belongs to a version ending in trainval, not to v1.0-mini", split="val")
    refused(root, "did you mean 'mini_train'?", split="mini_trian")
    other = write_folder(root / "other", scenes=("scene-0103",))
    refused(other, "no sample of split mini_train")


@pytest.mark.parametrize("table", TABLES)
def test_missing_tables_are_named(root: Path, table: str) -> None:
    path = root / "v1.0-mini" / f"{table}.json"
    path.unlink()
    with pytest.raises(DatasetNotFound, match=rf"{table}\.json: cannot be read"):
        read_dataset(root, "v1.0-mini", "mini_train")
    path.write_text('{"token": 3}')
    refused(root, f"{table}.json: not a nuScenes table")
    path.write_text("[")
    refused(root, f"{table}.json: not a nuScenes table")


def change(table: str, **fields: Any) -> Callable[[Path], None]:
    """Change fields of a table's second row, or delete those that are None."""

    def apply(root: Path) -> None:
        path = root / "v1.0-mini" / f"{table}.json"
        rows = json.loads(path.read_text())
        rows[1] = {key: value for key, value in {**rows[1], **fields}.items() if value is not None}
        path.write_text(json.dumps(rows))

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("sample", scene_token="x"), "sample.json: names scene 'x', which scene.json does not hold"),
        (change("sample_annotation", instance_token="x"), "sample_annotation.json: names instance 'x', which"),
        (change("sample_annotation", next="x"), "sample_annotation.json: names sample_annotation 'x', which"),
        (change("sample_annotation", attribute_tokens=["x"]), "names attribute 'x', which"),
        (change("sample_annotation", attribute_tokens=["attribute0", "attribute1"]), "expected at most one of"),
        (change("sample_annotation", size=None), "has no size; copy all tables"),
        (change("sample_annotation", size=[1, 2, 0]), "size [1.0, 2.0, 0.0], expected three finite numbers above 0"),
        (change("sample_annotation", size=[1, 2]), "size [1, 2], expected 3 numbers; copy the table again"),
        (change("instance", category_token="x"), "instance.json: names category 'x', which"),
        (change("calibrated_sensor", sensor_token="x"), "names sensor 'x', which"),
        (change("sensor", channel="LIDAR_SIDE"), "has no key frame of LIDAR_TOP"),
    ],
)
def test_rows_that_point_nowhere_are_named(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(root)
    refused(root, message)


def test_a_folder_without_annotations_is_refused(root: Path) -> None:
    (root / "v1.0-mini" / "sample_annotation.json").write_text("[]")
    refused(root, "holds no annotations")


def test_categories_of_another_list_are_named(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    root = write_folder(tmp_path)
    read_dataset(root, "v1.0-mini", "mini_val")
    assert not recwarn.list
    path = root / "v1.0-mini" / "category.json"
    path.write_text(path.read_text().replace('"vehicle.car"', '"vehicle.cra"'))
    with pytest.warns(
        UserWarning, match=r"'vehicle\.cra', one of 1 categories .* left out; did you mean 'vehicle\.car'"
    ):
        read_dataset(root, "v1.0-mini", "mini_val")
