"""``evaluate depth|segmentation|edges``: every kind of source gives the functions' figures; bad input is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from lit.cli import main
from lit.commands.evaluate.command import TASKS
from lit.metrics.alignment import edge_average_precision, segmentation_scores
from lit.metrics.geometry import depth_accuracy, non_flatness_score
from lit.metrics.maps.files import MapFiles

COUNT = 5
RNG = np.random.default_rng(0)
DEPTH = RNG.integers(300, 2000, (COUNT, 12, 10)).astype(np.uint16)
TARGET = (DEPTH / 256 + RNG.normal(0, 0.5, DEPTH.shape)).astype(np.float32)
MASK = (RNG.random(DEPTH.shape) < 0.7).astype(np.uint8) * 255


def store(path: Path, maps: np.ndarray, kind: str) -> Path:
    """Write maps as a folder (png, npy, npz in turn), a zip of it, one npz, or one stack; return the place."""
    names = [f"sub/{index:03d}" if kind in ("png", "zip") else f"{index:03d}" for index in range(len(maps))]
    if kind == "stack":
        np.save(path.with_suffix(".npy"), maps)
        return path.with_suffix(".npy")
    if kind == "archive":
        np.savez_compressed(path.with_suffix(".npz"), **dict(zip(names, maps)))
        return path.with_suffix(".npz")
    for index, (name, one) in enumerate(zip(names, maps)):
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind in ("png", "zip") and maps.dtype in (np.uint8, np.uint16):
            cv2.imwrite(f"{target}.png", one)
        elif index % 2:
            np.save(f"{target}.npy", one[None] if index == 1 else one[..., None])
        else:
            np.savez(f"{target}.npz", one)
    if kind == "zip":
        shutil.make_archive(str(path), "zip", path)
        return path.with_name(path.name + ".zip")
    return path


def run(capsys: pytest.CaptureFixture[str], out: Path, *argv: object) -> dict[str, Any]:
    assert main(["evaluate", *map(str, argv), "--out", str(out)]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip()
    return json.loads(out.read_text())


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    capsys.readouterr()
    assert main(["evaluate", *map(str, argv)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("kind", ["png", "folder", "zip", "archive", "stack"])
def test_depth_from_every_source(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    pred, target = store(tmp_path / "pred", DEPTH, kind), store(tmp_path / "target", TARGET, kind)
    mask = store(tmp_path / "mask", MASK, kind)
    metres, inside = torch.from_numpy(DEPTH / 256), torch.from_numpy(MASK > 0)
    arguments = ["depth", "--pred", pred, "--near", 2, "--far", 7, "--scale", 256]
    found = run(capsys, tmp_path / "a.json", *arguments)
    assert found["nfs"] == pytest.approx(non_flatness_score(metres, 2, 7), rel=1e-12)
    assert found["maps"] == COUNT
    assert found["evaluator"]["version"]
    assert "depth_accuracy" not in found
    found = run(capsys, tmp_path / "b.json", *arguments, "--target", target, "--mask", mask, "--bins", 16)
    assert found["nfs"] == pytest.approx(non_flatness_score(metres, 2, 7, 16, inside), rel=1e-12)
    expected = depth_accuracy(metres, torch.from_numpy(TARGET).double(), inside)
    assert found["depth_accuracy"] == pytest.approx(expected, rel=1e-12)


def test_depths_of_zero_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, target = np.where(MASK > 0, TARGET, 0), TARGET.copy()
    target[:, :2] = 0
    places = [store(tmp_path / name, maps, "folder") for name, maps in (("p", pred), ("t", target))]
    arguments = ["depth", "--pred", places[0], "--near", 2, "--far", 7, "--mask", "nonzero"]
    found = run(capsys, tmp_path / "a.json", *arguments)
    whole = non_flatness_score(torch.from_numpy(pred), 2, 7, mask=torch.from_numpy(pred != 0))
    assert found["nfs"] == pytest.approx(whole, rel=1e-12)
    found = run(capsys, tmp_path / "b.json", *arguments, "--target", places[1])
    both = torch.from_numpy((pred != 0) & (target != 0))
    assert found["depth_accuracy"] == pytest.approx(
        depth_accuracy(torch.from_numpy(pred), torch.from_numpy(target), both), rel=1e-12
    )


@pytest.mark.parametrize("kind", ["png", "folder", "archive", "stack"])
def test_segmentation(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    gt, pred = (RNG.integers(0, 4, (2, COUNT, 12, 10))).astype(np.uint8)
    gt[:, 0] = 255
    places = [store(tmp_path / name, maps, kind) for name, maps in (("gt", gt), ("pred", pred))]
    arguments = ["segmentation", "--gt", places[0], "--pred", places[1], "--num-classes", 5, "--ignore-index", 255]
    found = run(capsys, tmp_path / "out.json", *arguments)
    expected = segmentation_scores(torch.from_numpy(gt), torch.from_numpy(pred), 5, 255)
    assert {key: found[key] for key in expected} == expected
    assert found["iou_per_class"][4] is None


@pytest.mark.parametrize("kind", ["png", "folder", "archive", "stack"])
def test_edges(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    scores = RNG.integers(0, 256, (COUNT, 12, 10)).astype(np.uint8)
    labels = ((scores + RNG.integers(0, 200, scores.shape)) > 300).astype(np.uint8) * 255
    soft = scores if kind == "png" else scores.astype(np.float32) / 7 - 10
    places = [store(tmp_path / name, maps, kind) for name, maps in (("gt", labels), ("pred", soft))]
    found = run(capsys, tmp_path / "out.json", "edges", "--gt", places[0], "--pred", places[1])
    expected = edge_average_precision(torch.from_numpy(soft), torch.from_numpy(labels > 0))
    assert found["average_precision"] == pytest.approx(expected, abs=1e-12)
    assert (found["pixels"], found["edge_pixels"]) == (labels.size, int((labels > 0).sum()))


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = store(tmp_path / "good", TARGET, "folder")
    depth = ["depth", "--near", "2", "--far", "7", "--pred"]
    assert "not found" in refused(capsys, *depth, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "holds no maps" in refused(capsys, *depth, tmp_path / "empty")
    (tmp_path / "a.txt").write_text("x")
    assert "not a kind of map file" in refused(capsys, *depth, tmp_path / "a.txt")
    assert "000: near 7.0, far 2.0" in refused(capsys, "depth", "--near", "7", "--far", "2", "--pred", good)
    assert "--scale 0.0" in refused(capsys, *depth, good, "--scale", "0")
    assert "did you mean '--target'?" in refused(capsys, *depth, good, "--targte", good)
    some = store(tmp_path / "some", TARGET[:3], "folder")
    assert "no map is named 003" in refused(capsys, *depth, good, "--target", some)
    broken = store(tmp_path / "broken", np.where(np.arange(10) == 3, np.nan, TARGET), "folder")
    assert "000: depth: map 0 holds NaN" in refused(capsys, *depth, broken)
    flat = store(tmp_path / "flat", np.ones_like(TARGET), "folder")
    assert "000: target: map 0 is flat" in refused(capsys, *depth, good, "--target", flat)
    small = store(tmp_path / "small", TARGET[:, :5], "folder")
    assert "expected equal shapes" in refused(capsys, *depth, good, "--target", small)
    assert "expected equal shapes" in refused(capsys, *depth, good, "--target", small, "--mask", "nonzero")
    assert "cannot be written" in refused(capsys, *depth, good, "--out", "/proc/none/out.json")
    classes = ["segmentation", "--gt", store(tmp_path / "labels", MASK, "png"), "--pred", tmp_path / "labels"]
    assert "sub/000: target: label 255" in refused(capsys, *classes, "--num-classes", "3")
    assert "num_classes 1" in refused(capsys, *classes, "--num-classes", "1")
    assert "expected integers" in refused(capsys, "segmentation", "--num-classes", "3", "--gt", good, "--pred", good)
    zero = store(tmp_path / "zero", np.zeros_like(TARGET), "folder")
    assert "no pixel is an edge" in refused(capsys, "edges", "--gt", zero, "--pred", good)
    assert "holds NaN" in refused(capsys, "edges", "--gt", broken, "--pred", good)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"no picture", "no readable PNG"),
        ("a.npy", b"no array", "cannot be read"),
        ("a.npz", b"no archive", "cannot be read"),
        ("a.npz", {"x": TARGET[0], "y": TARGET[0]}, "2 arrays where one is expected"),
        ("a.npy", TARGET[0].astype(object), "cannot be read"),
        ("a.npy", TARGET, "expected real numbers"),
        ("a.npy", TARGET[0].astype(complex), "expected real numbers"),
        ("a.png", np.zeros((4, 4, 3), np.uint8), "store one channel"),
    ],
)
def test_unreadable_maps_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: Any, message: str
) -> None:
    path = tmp_path / "maps" / name
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif name.endswith(".png"):
        cv2.imwrite(str(path), content)
    else:
        np.save(path, content)
    line = refused(capsys, "depth", "--near", "0", "--far", "1", "--pred", path.parent)
    assert message in line
    assert " a " in line


def test_sources_that_cannot_be_indexed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.zip", "x.npz", "x.npy"):
        (tmp_path / name).write_bytes(b"nothing")
        assert "write it again" in refused(capsys, "depth", "--near", "0", "--far", "1", "--pred", tmp_path / name)
    twice = store(tmp_path / "twice", TARGET[:2], "folder")
    np.save(twice / "000.npy", TARGET[0])
    assert "two files are named 000" in refused(capsys, "depth", "--near", "0", "--far", "1", "--pred", twice)


def test_maps_are_read_one_by_one(tmp_path: Path) -> None:
    files = MapFiles(store(tmp_path / "maps", TARGET, "stack"))
    assert files.names() == [f"{index:06d}" for index in range(COUNT)]
    np.testing.assert_array_equal(files.read("000003"), TARGET[3])
    assert files.read("000003").dtype == np.float32
    single = tmp_path / "one.npy"
    np.save(single, TARGET[0].astype(np.longdouble))
    assert MapFiles(single).read("000000").dtype == np.float64
    assert len(MapFiles(single)) == 1


def test_help_of_all_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--help"]) == 0
    assert {"depth", "segmentation", "edges"} <= set(TASKS)
    assert "Average precision of edge maps" in capsys.readouterr().out
