"""EG3D's archives with label maps: pairing, polarity, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import DatasetNotFound, InputError
from datamodules.objects.labelled.pairs import LabelledPairs
from datamodules.objects.labelled_views import class_weights, edge_input, nearest_labels
from tests.datamodules.objects.labelled.drawn_pairs import camera, drawn, png, write_drawn, write_files


def opened(
    folder: Path, files: tuple[dict[str, bytes], dict[str, bytes]], kind: str = "edge", **options: Any
) -> LabelledPairs:
    images, labels = (write_files(folder / f"{name}.zip", held) for name, held in zip(("images", "labels"), files))
    return LabelledPairs(images, labels, kind, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("archive", [True, False])
def test_archives_and_folders_read_alike(tmp_path: Path, archive: bool) -> None:
    pairs = LabelledPairs(*write_drawn(tmp_path, archive), "edge")
    assert pairs.keys == sorted(f"car{row}/car{row}_{view}" for row in range(3) for view in range(2))
    assert pairs.objects[:3] == ["car0", "car0", "car1"]
    assert pairs.cameras.shape == (6, 25)
    assert pairs.picture(4)[:, 5, 5].tolist() == [40, 40, 40]
    assert pairs.label_map(4)[5, 4] == 0


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    images, labels = drawn(1, 1)
    images["car0/car0_0.png"] = png(np.full((16, 16, 3), (1, 2, 3), np.uint8))  # OpenCV writes blue first
    assert opened(tmp_path, (images, labels)).picture(0)[:, 0, 0].tolist() == [3, 2, 1]


def test_maps_are_paired_by_stem_not_by_order(tmp_path: Path) -> None:
    images, labels = drawn(kind="seg")
    moved = {f"{9 - place}/{Path(name).name}": held for place, (name, held) in enumerate(labels.items())}
    pairs = opened(tmp_path, (images, moved), "seg", classes=3)
    assert [int(pairs.label_map(row).max()) for row in range(6)] == [1, 2, 1, 2, 1, 2]


def test_equal_paths_may_share_stems(tmp_path: Path) -> None:
    images, labels = drawn(2, 1)
    names = {"car0/car0_0.png": "a/0.png", "car1/car1_0.png": "b/0.png"}
    images = {names.get(name, name): held for name, held in images.items()}
    images["dataset.json"] = json.dumps({"labels": [[name, camera()] for name in names.values()]}).encode()
    labels = {names[name]: held for name, held in labels.items()}
    assert opened(tmp_path, (images, labels)).keys == ["a/0", "b/0"]
    labels = {f"x/{name}": held for name, held in labels.items()}
    with pytest.raises(InputError, match="a/0 and b/0 have one stem"):
        opened(tmp_path, (images, labels))


def test_an_edge_map_as_the_network_gets_it() -> None:
    paper = np.full((9, 9), 255, np.uint8)
    paper[:, 4:6] = 0  # two pixels wide
    fed = edge_input(paper)
    assert fed.shape == (1, 9, 9)
    assert fed[0, 4, [0, 3, 4, 5, 6, 8]] == pytest.approx([1, 1 / 3, -1 / 3, -1 / 3, 1 / 3, 1], abs=0.01)
    assert edge_input(paper, 3)[0, 0].tolist() == fed[0, 0, ::3].tolist()  # blurred first, then nearest


def test_nearest_takes_the_pixel_below() -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert nearest_labels(values, 3)[1, 2] == values[2, 5]  # floor(i * 8 / 3)


def test_class_weights() -> None:
    pixels = np.array([600, 300, 0, 100])
    weights = class_weights(pixels, most=100)
    assert weights == pytest.approx([1000 / 2400, 1000 / 1200, 0, 2.5])
    assert class_weights(pixels, root=True, most=100) == pytest.approx(np.sqrt(weights))
    assert class_weights(np.array([10**6, 10**6, 1])).max() < 10**6 / 1.5


def test_light_lines_may_be_read_when_said(tmp_path: Path) -> None:
    images, labels = drawn(1, 1)
    dark = opened(tmp_path, (images, labels)).label_map(0)
    light = {name: png(255 - dark) for name in labels}
    with pytest.raises(
        InputError,
        match=r"mean grey 12, expected dark lines on light paper: the polarity is inverted; .*data.lines light",
    ):
        opened(tmp_path, (images, light)).look()
    assert (opened(tmp_path, (images, light), lines="light").label_map(0) == dark).all()
    with pytest.raises(InputError, match="expected light lines on dark paper"):
        opened(tmp_path, (images, labels), lines="light").look()


def test_sizes_can_be_changed_on_the_way(tmp_path: Path) -> None:
    pairs = opened(tmp_path, drawn(1, 1, kind="seg"), "seg", classes=3, size=8)
    assert pairs.picture(0).shape == (3, 8, 8)
    assert pairs.label_map(0).shape == (8, 8)
    assert set(np.unique(pairs.label_map(0))) == {0, 1}


PATH = "car1/car1_0.png"


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: held for key, held in files.items() if key != name}


def relabelled(images: dict[str, bytes], label: list[float] | None) -> dict[str, bytes]:
    rows = [row for row in json.loads(images["dataset.json"])["labels"] if row[0] != PATH]
    rows += [] if label is None else [[PATH, label]]
    return {**images, "dataset.json": json.dumps({"labels": rows}).encode()}


def square(side: int, value: int = 0) -> bytes:
    return png(np.full((side, side), value, np.uint8))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i, m: (i, without(m, PATH)), "labels.zip: no car1_0.png, one of 1 of 6 files of .*images.zip without"),
        (lambda i, m: (relabelled(without(i, PATH), None), m), "images.zip: no car1_0.png, one of 1 of 6 files of"),
        (lambda i, m: (relabelled(i, None), m), "no camera label of car1/car1_0.png, one of 1 pictures without"),
        (lambda i, m: (without(i, PATH), without(m, PATH)), "lists car1/car1_0.png, one of 1 pictures that .* lacks"),
        (lambda i, m: (relabelled(i, camera()[:24]), m), "label of car1/car1_0 has 24 numbers, expected 25"),
        (lambda i, m: (relabelled(i, [2.0, *camera()[1:]]), m), "off unit length or right angles by"),
        (lambda i, m: (i, {**m, PATH: square(8)}), "car1_0.png: 8 x 8 pixels, expected 16 x 16 as the pictures"),
        (lambda i, m: ({**i, PATH: square(8)}, m), "car1_0.png: 8 x 8 pixels, expected 16 x 16 as the other pictures"),
        (lambda i, m: (i, {**m, PATH: square(16, 3)}), "car1_0.png: class 3, expected 0 to 2; correct"),
        (lambda i, m: (i, {**m, PATH: i[PATH]}), r"uint8 of the shape \(3, 16, 16\), expected grey of 8 bits"),
        (lambda i, m: (i, {**m, PATH: b"no picture"}), "10 bytes that are no PNG or JPEG"),
        (lambda i, m: (without(i, "dataset.json"), m), "holds no dataset.json; expected pictures as PNG and"),
        (lambda i, m: ({**i, "dataset.json": b'{"labels": [["a.png"]]}'}, m), r"dataset.json, \$.labels\[0\]: "),
        (lambda i, m: ({"dataset.json": i["dataset.json"]}, m), "images.zip: holds no PNG file"),
        (lambda i, m: ({**i, PATH: png(np.zeros((16, 16, 4), np.uint8))}, m), "transparent pixels, expected opaque"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        opened(tmp_path, change(*drawn(kind="seg")), "seg", classes=3).look()
    assert "\n" not in str(caught.value)


def test_options_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    files = drawn(kind="seg")
    for options, said in (
        ({"kind": "segm"}, "kind 'segm': expected one of edge, seg; did you mean 'seg'"),
        ({"kind": "seg"}, "names no classes, expected data.classes"),
        ({"kind": "seg", "classes": 1}, "classes 1: expected 2 to 256"),
        ({"kind": "edge", "lines": "white"}, "lines 'white'"),
    ):
        with pytest.raises(InputError, match=said):
            opened(tmp_path, files, **options)
    with pytest.raises(DatasetNotFound, match=r"nowhere\.zip does not exist; expected one PNG label map"):
        LabelledPairs(tmp_path / "images.zip", tmp_path / "nowhere.zip", "edge")
