"""Loaders over pictures with label maps: the split, the order, processes, and the studio behind it."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.labelled import studio_labels
from datamodules.objects.labelled.cameras import TO_WORLD
from datamodules.objects.labelled.datamodule import LabelledViewsDataModule, ViewBatches
from datamodules.objects.labelled.pairs import LabelledPairs
from datamodules.objects.labelled.studio_labels import PART_CLASSES, write_labelled_views
from datamodules.samplers import Position
from lit.cli import main
from tests.datamodules.objects.labelled.drawn_pairs import write_drawn


def data(folder: Path, **changes: Any) -> LabelledViewsDataModule:
    images, labels = folder / "images.zip", folder / "labels.zip"
    module = LabelledViewsDataModule(
        str(images), str(labels), **{"val_every": 3, "batch_size": 4, "steps_per_epoch": 5} | changes
    )
    module.setup()
    return module


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_drawn(folder, objects=6, views=3)
    return folder


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_views(tmp_path_factory.mktemp("studio") / "set", 3, 4, 48, workers=1)


def test_a_batch_is_what_networks_are_fed_with(drawn: Path, tmp_path: Path) -> None:
    batch = next(iter(data(drawn).train_dataloader()))
    assert (len(batch), batch.images.shape, batch.labels.shape) == (4, (4, 3, 16, 16), (4, 1, 16, 16))
    assert batch.images.dtype == batch.labels.dtype == batch.cameras.dtype == torch.float32
    assert batch.cameras.shape == (4, 25)
    assert float(batch.images.max()) == float(batch.labels.max()) == 1
    assert float(batch.labels.min()) < 0
    write_drawn(tmp_path, objects=3, views=1, kind="seg")
    maps = next(iter(data(tmp_path, kind="seg", classes=3).val_dataloader())).labels
    assert (maps.dtype, maps.shape) == (torch.int64, (1, 16, 16))


def test_objects_are_split_and_every_picture_has_its_own_camera(drawn: Path) -> None:
    module = data(drawn, test_every=3)
    parts = {
        "val": module.val_dataloader(),
        "test": module.test_dataloader(),
        "all": module.reference_dataloader(),
    }
    keys = {name: [key for batch in loader for key in batch.keys] for name, loader in parts.items()}
    assert keys["val"] == [f"car{row}/car{row}_{view}" for row in (2, 5) for view in range(3)]
    assert {key[:4] for key in keys["test"]} == {"car1", "car4"}
    assert len(keys["all"]) == len(set(keys["all"])) == 18
    trained = {key[:4] for batch in module.train_dataloader() for key in batch.keys}
    assert trained == {"car0", "car3"}
    assert module.cameras.shape == (6, 25)
    pairs = module._pairs()
    for batch in module.reference_dataloader():
        rows = [pairs.keys.index(key) for key in batch.keys]
        assert (batch.cameras.numpy() == pairs.cameras[rows]).all()


def test_processes_share_a_batch_and_nothing_else_changes_it(drawn: Path) -> None:
    pairs = LabelledPairs(drawn / "images.zip", drawn / "labels.zip", "edge")

    def shown(batch: int, rank: int, ranks: int, epoch: int = 3) -> list[str]:
        parts = ViewBatches(pairs, np.arange(18), batch, True, Position(rank, ranks, 7))
        return [key for step in range(3) for key in parts[(epoch, step)].keys]

    alone = shown(6, 0, 1)
    assert sorted(alone) == sorted(pairs.keys)
    assert shown(6, 0, 1, epoch=4) != alone
    halves = [shown(3, rank, 2) for rank in range(2)]
    assert halves[0][:3] + halves[1][:3] == alone[:6]
    held = [ViewBatches(pairs, np.arange(7), 3, False, Position(rank, 2, 7)).in_order() for rank in range(2)]
    assert len(held[0]) == len(held[1])
    assert sorted(place for part in held for places in part for place in places.tolist()) == list(range(7))


def test_workers_open_their_own_archive(drawn: Path) -> None:
    pairs = LabelledPairs(drawn / "images.zip", drawn / "labels.zip", "edge")
    pairs.picture(0)
    again = pickle.loads(pickle.dumps(pairs))
    assert (again.picture(0) == pairs.picture(0)).all()


def test_held_out_maps_and_objects_can_be_limited(drawn: Path) -> None:
    module = data(drawn, held_out_maps=2, objects=3)
    assert [key for batch in module.val_dataloader() for key in batch.keys] == ["car2/car2_0", "car2/car2_2"]
    assert sum(len(batch) for batch in module.reference_dataloader()) == 9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val_every": 7}, "shows 6 objects, none of them for val with val_every 7"),
        ({"objects": 9}, "shows 6 objects, data.objects asks for 9"),
        ({"batch_size": 0}, "batch_size 0: expected at least 1"),
        ({"size": 4}, "size 4: expected at least 8"),
    ],
)
def test_splits_that_leave_nothing_are_refused(drawn: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        data(drawn, **changes)


def test_pictures_in_one_folder_are_objects_of_their_own_when_said(tmp_path: Path) -> None:
    write_drawn(tmp_path, objects=1, views=6)
    with pytest.raises(InputError, match=r"shows 1 objects, none .*object_of file"):
        data(tmp_path)
    module = data(tmp_path, object_of="file")
    assert [len(module.rows[split]) for split in ("train", "val", "all")] == [4, 2, 6]


def test_the_studio_writes_pictures_maps_and_cameras_that_agree(studio: Path) -> None:
    with zipfile.ZipFile(studio / "images.zip") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        index = json.loads(archive.read("dataset.json"))
    seg = LabelledPairs(studio / "images.zip", studio / "seg.zip", "seg")
    edge = LabelledPairs(studio / "images.zip", studio / "edge.zip", "edge")
    assert seg.class_names == PART_CLASSES
    shown: set[int] = set()
    for row, key in enumerate(seg.keys):
        image, classes, drawing = seg.picture(row), seg.label_map(row), edge.label_map(row)
        shown |= set(np.unique(classes).tolist())
        assert (image[:, classes == 0].min(0) > 120).all()  # white, but for the object's soft rim
        assert 0.05 < (classes > 0).mean() < 0.6
        assert (drawing == 0).mean() < 0.3
        far = cv2.dilate((classes > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        assert (drawing[far] == 255).all()  # lines are at the object
        # The box, through the 25 numbers, holds the object and no more than it must.
        held = index["objects"][key.split("/")[0]]
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(held["dims"]) / 2
        world = corners @ TO_WORLD.T * held["scale"]
        pose, intrinsics = (seg.cameras[row][part].reshape(n, n) for part, n in ((slice(16), 4), (slice(16, 25), 3)))
        seen = (np.c_[world, np.ones(8)] @ np.linalg.inv(pose).T)[:, :3] @ intrinsics.T
        u, v = (seen[:, :2] / seen[:, 2:] * 48 - 0.5).T
        rows, columns = np.nonzero(classes)
        assert u.min() - 1 <= columns.min() <= columns.max() <= u.max() + 1
        assert v.min() - 1 <= rows.min() <= rows.max() <= v.max() + 1
        assert columns.max() - columns.min() > 0.7 * (u.max() - u.min())
    assert shown == set(range(6))


def test_the_studio_writes_the_same_bytes_again_and_only_once(tmp_path: Path) -> None:
    words = [
        "prepare",
        "labelled",
        "--objects",
        "2",
        "--views",
        "2",
        "--size",
        "16",
        "--labels",
        "edge",
        "--workers",
        "1",
    ]
    digests = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        assert main([*words, "--root", str(folder)]) == 0
        assert sorted(path.name for path in folder.iterdir()) == ["edge.zip", "images.zip", "labelled.json"]
        digests.append(
            [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("edge.zip", "images.zip")]
        )
    assert digests[0] == digests[1]
    before = (tmp_path / "a" / "images.zip").stat().st_mtime_ns
    assert main([*words, "--root", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "images.zip").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds another set of labelled views"):
        write_labelled_views(tmp_path / "a", 2, 2, 16, ["edge"], seed=1, workers=1)
    with pytest.raises(InputError, match="holds another set of labelled views"):
        write_labelled_views(tmp_path / "a", 2, 2, 16, ["edge"], workers=1, paints="street")
    (tmp_path / "own").mkdir()
    for name in ("images.zip", "edge.zip"):  # EG3D's names: anybody's set
        (tmp_path / "own" / name).write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds edge\.zip, images\.zip and no labelled\.json"):
        write_labelled_views(tmp_path / "own", 2, 2, 16, ["edge"], workers=1)
    assert (tmp_path / "own" / "images.zip").read_bytes() == b"mine"
    assert main([*words, "--root", str(tmp_path / "c"), "--paints", "street"]) == 0
    images = [(tmp_path / folder / "images.zip").read_bytes() for folder in "ac"]
    assert images[0] != images[1]


def test_a_broken_off_write_leaves_nothing_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studio_labels, "run_jobs", broken)
    with pytest.raises(KeyboardInterrupt):
        write_labelled_views(tmp_path / "set", 2, 2, 16, workers=1)
    assert not (tmp_path / "set").exists()


def test_the_data_module_writes_the_studio_set_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio_labels, "write_labelled_views", partial(write_labelled_views, workers=1))
    names = {"images": str(tmp_path / "new" / "images.zip"), "labels": str(tmp_path / "new" / "seg.zip"), "kind": "seg"}
    made: dict[str, Any] = {"create": True, "create_objects": 2, "create_views": 2, "create_size": 16, "val_every": 2}
    module = LabelledViewsDataModule(**names, **made)  # type: ignore[arg-type]
    module.prepare_data()
    module.setup()
    assert module.class_names == PART_CLASSES
    weights = module.class_weights()
    assert weights.shape == (6,)
    assert float(weights[0]) == float(weights[weights > 0].min())  # the background is the largest class
    wrong = LabelledViewsDataModule(**{**names, "images": str(tmp_path / "x" / "cars.zip")}, **made)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the studio writes FOLDER"):
        wrong.prepare_data()
