"""AP2D and AP3D against pycocotools' COCOeval, against a reading of the definition, and against themselves."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.geometry import rotation_y
from datamodules.omni3d.camera_boxes import CameraBoxes
from lit.experiments.recorded import read_recorded
from lit.metrics.omni3d.evaluation import LEAST_IOUS, RANGES, Omni3DAP, evaluate_boxes, flatten
from lit.metrics.omni3d.overlaps import iou_2d, iou_3d
from lit.metrics.omni3d.recorded_pictures import RecordedPictures, write_pictures
from lit.metrics.sample_keys import sample_key

CLASSES = ("car", "van", "tram")  # nobody has a tram
Pictures = list[CameraBoxes]


def pictures(seed: int, count: int = 12, crowd: int = 6) -> tuple[Pictures, Pictures]:
    """Labels, some of them ignored, and predictions: labels moved, doubled, of the wrong class, and by chance."""
    rng = np.random.default_rng(seed)
    truths, preds = [], []
    for index in range(count):
        size = int(rng.integers(0, crowd + 1)) if index else crowd
        depth = rng.uniform(4, 60, size)
        center = np.column_stack([rng.uniform(-0.5, 0.5, size) * depth, np.full(size, 1.0), depth])
        dims = rng.uniform([3, 1.3, 1.5], [5, 2, 2], (size, 3))
        yaw = rng.uniform(-np.pi, np.pi, size)
        middle, half = rng.uniform(0, 400, (size, 2)), rng.uniform(5, 90, (size, 2))
        names = rng.choice(CLASSES[:2], size)
        bbox = np.concatenate([middle - half, middle + half], 1)
        ignored = rng.random(size) < 0.25
        truths.append(CameraBoxes(names, bbox, center, dims, rotation_y(yaw), ignored=ignored))
        chosen = np.concatenate([rng.permutation(size)[: size * 3 // 4], rng.integers(0, max(size, 1), size // 2)])
        chosen = chosen.astype(int) if size else np.zeros(0, int)
        extent = np.tile(half, 2)[chosen]
        preds.append(
            CameraBoxes(
                np.where(rng.random(len(chosen)) < 0.8, names[chosen], "car"),
                bbox[chosen] + extent * rng.normal(0, 0.1, (len(chosen), 4)),
                center[chosen] + rng.normal(0, 0.5, (len(chosen), 3)) * [1, 0.2, 1],
                dims[chosen] * rng.uniform(0.9, 1.1, (len(chosen), 3)),
                rotation_y(yaw[chosen] + rng.normal(0, 0.1, len(chosen))),
                score=rng.random(len(chosen)).round(2),  # ties
            )
        )
    return truths, preds


def coco_figures(truths: Pictures, preds: Pictures, mode: str) -> dict[str, float]:
    """The same figures by pycocotools, as Omni3D's evaluation builds on it."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    overlaps: dict[tuple[int, int], Any] = {}

    class Eval(cocoeval.COCOeval):  # type: ignore[name-defined]  # found at run time
        def _prepare(self) -> None:  # COCO ignores crowds alone, which may be matched again and again
            super()._prepare()
            for entry in (entry for entries in self._gts.values() for entry in entries):
                entry["ignore"] = entry["ignored"]

        def computeIoU(self, image: int, category: int) -> Any:
            return overlaps[image, category]

    images = [{"id": index + 1} for index in range(len(truths))]
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
    tables: list[list[dict[str, Any]]] = [[], []]
    for index, pair in enumerate(zip(truths, preds)):
        ordered = []
        for table, boxes in zip(tables, pair):
            if boxes.score is not None:
                boxes = boxes[np.argsort(-boxes.score, kind="stable")]
            ordered.append(boxes)
            for k, name in enumerate(boxes.names):
                left, top, right, bottom = boxes.bbox[k]
                area = (right - left) * (bottom - top) if mode == "2D" else boxes.center[k, 2]
                entry: dict[str, Any] = {
                    "id": len(table) + 1,
                    "image_id": index + 1,
                    "category_id": CLASSES.index(name) + 1,
                }
                entry |= {"bbox": [left, top, right - left, bottom - top], "area": area, "iscrowd": 0}
                if boxes.ignored is not None:
                    entry["ignored"] = bool(boxes.ignored[k])
                if boxes.score is not None:
                    entry["score"] = boxes.score[k]
                table.append(entry)
        for number, name in enumerate(CLASSES):
            gt, found = (boxes[boxes.names == name] for boxes in ordered)
            values = iou_2d(found.bbox, gt.bbox) if mode == "2D" else iou_3d(found, gt)
            overlaps[index + 1, number + 1] = values if len(gt) and len(found) else []
    with contextlib.redirect_stdout(io.StringIO()):
        gt, found = coco.COCO(), coco.COCO()
        gt.dataset = {"images": images, "categories": categories, "annotations": tables[0]}
        found.dataset = {"images": images, "categories": categories, "annotations": tables[1]}
        gt.createIndex()
        found.createIndex()
        run = Eval(gt, found, "bbox")
        run.params.iouThrs = LEAST_IOUS[mode]
        run.params.areaRng = [list(span) for span in RANGES[mode].values()]
        run.params.areaRngLbl = list(RANGES[mode])
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, :, -1]  # threshold, recall, class, range
    figures = {}
    for place, span in enumerate(RANGES[mode]):
        values = precision[:, :, :, place]
        if (values > -1).any():
            figures[f"AP{mode}" + ("" if span == "all" else f"/{span}")] = 100 * values[values > -1].mean()
    for number, name in enumerate(CLASSES):
        values = precision[:, :, number, 0]
        if (values > -1).any():
            figures[f"{name}/AP{mode}"] = 100 * values[values > -1].mean()
    return figures


@pytest.mark.parametrize("mode", ["2D", "3D"])
@pytest.mark.parametrize("seed", range(4))
def test_pycocotools_finds_the_same(seed: int, mode: str) -> None:
    truths, preds = pictures(seed, crowd=3 + 4 * seed)
    figures = flatten(evaluate_boxes(truths, preds, CLASSES))
    expected = coco_figures(truths, preds, mode)
    assert {f"AP{mode}", f"car/AP{mode}", f"van/AP{mode}"} <= set(expected)
    own = {name: value for name, value in figures.items() if name in expected}
    assert own == pytest.approx(expected, abs=1e-9)
    assert 1 < figures[f"AP{mode}"] < 99


def literal_ap(truths: Pictures, preds: Pictures, name: str, limit: float) -> float:
    """AP3D of a class at one threshold, read off the definition."""
    ranked: list[tuple[float, int, int]] = []
    for index, one in enumerate(preds):
        assert one.score is not None
        ranked += [(-float(s), index, k) for k, s in enumerate(one.score) if one.names[k] == name]
    ranked.sort()
    total = sum(int(((one.names == name) & ~one.ignored).sum()) for one in truths if one.ignored is not None)
    taken: set[tuple[int, int]] = set()
    outcomes: list[bool] = []
    for _, index, k in ranked:
        truth, best = truths[index], (-1.0, -1)
        assert truth.ignored is not None
        for counting in (True, False):  # an ignored label only where no other is left
            for g in range(len(truth)):
                if truth.names[g] != name or truth.ignored[g] == counting or (index, g) in taken:
                    continue
                overlap = float(iou_3d(preds[index][k : k + 1], truth[g : g + 1])[0, 0])
                if overlap >= limit and overlap > best[0]:
                    best = (overlap, g)
            if best[1] >= 0:
                break
        if best[1] >= 0:
            taken.add((index, best[1]))
            if truth.ignored[best[1]]:
                continue
        outcomes.append(best[1] >= 0)
    points = [(sum(outcomes[: n + 1]) / total, sum(outcomes[: n + 1]) / (n + 1)) for n in range(len(outcomes))]
    return sum(max((p for r, p in points if r >= k / 100), default=0.0) for k in range(101)) / 101


@pytest.mark.parametrize("seed", [5, 6])
def test_the_definition_read_literally(seed: int) -> None:
    truths, preds = pictures(seed, count=8, crowd=5)
    ranks = [np.argsort(np.argsort(np.asarray(one.score))) for one in preds]
    preds = [replace(one, score=ranks[index] + index / 97) for index, one in enumerate(preds)]
    figures = flatten(evaluate_boxes(truths, preds, ["car"]))
    for limit in (0.15, 0.25, 0.5):
        assert figures[f"AP3D/{limit}"] == pytest.approx(100 * literal_ap(truths, preds, "car", limit), abs=1e-9)


def perfect(truths: Sequence[CameraBoxes]) -> Pictures:
    return [replace(one, ignored=None, score=np.ones(len(one))) for one in truths]


def test_labels_against_themselves() -> None:
    truths, _ = pictures(0)
    result = evaluate_boxes(truths, perfect(truths), CLASSES)
    figures = flatten(result)
    assert figures == pytest.approx(dict.fromkeys(figures, 100.0))
    assert {"AP2D/0.5", "AP2D/0.95", "AP2D/large", "AP3D/0.15", "AP3D/near", "AP3D/far"} <= set(figures)
    assert "tram/AP3D" not in figures
    assert result["classes"]["tram"] == {"AP2D": None, "AP3D": None}
    assert result["labels"] + result["ignored"] == result["predictions"] == sum(map(len, truths))


def test_no_prediction_scores_zero_and_no_label_is_refused() -> None:
    truths, preds = pictures(0)
    nothing = [one[:0] for one in preds]
    assert set(flatten(evaluate_boxes(truths, nothing, CLASSES)).values()) == {0.0}
    with pytest.raises(InputError, match=r"no label that counts among 12 pictures .0 of tram, all ignored.: expected"):
        evaluate_boxes(truths, preds, ["tram"])
    with pytest.raises(InputError, match="predictions without scores: expected one for each box"):
        evaluate_boxes(truths, [replace(one, score=None) for one in preds], CLASSES)
    broken = [replace(one, center=one.center * np.nan) for one in preds]
    with pytest.raises(InputError, match="not finite: expected numbers"):
        evaluate_boxes(truths, broken, CLASSES)


def test_the_metric_counts_each_picture_once_in_any_order() -> None:
    truths, preds = pictures(3)
    preds = [replace(one, score=np.random.default_rng(k).random(len(one))) for k, one in enumerate(preds)]
    names = [f"{index:06d}" for index in range(len(truths))]
    metric, other = Omni3DAP(CLASSES), Omni3DAP(CLASSES)
    metric.update(names, truths, preds)
    for index in [*reversed(range(len(truths))), 0, 3]:
        other.update(names[index : index + 1], truths[index : index + 1], preds[index : index + 1])
    assert metric.compute() == other.compute()
    assert flatten(metric.compute()) == pytest.approx(flatten(evaluate_boxes(truths, preds, CLASSES)), abs=1e-9)
    with pytest.raises(ValueError, match="12 sample ids, 12 labelled and 11 predicted pictures: expected as many"):
        metric.update(names, truths, preds[1:])


def test_recorded_pictures_give_the_figures_of_any_choice(tmp_path: Path) -> None:
    """A picture drawn twice counts as two, none where it is left out; the file says what was written."""
    truths, preds = pictures(7)
    names = [f"{index:06d}" for index in range(len(truths))]
    metric = Omni3DAP(CLASSES)
    metric.update(names, truths, preds)
    figures = flatten(metric.compute())
    assert metric.trace is not None
    keys, matches = metric.trace
    known = {sample_key(name): name for name in names}
    samples = tuple(known[key] for key in keys)
    path = tmp_path / "picture_matches_val.npz"
    checksum = write_pictures(path, RecordedPictures(samples, samples, matches, "omni3d"))
    recorded = read_recorded(path, checksum)
    assert isinstance(recorded, RecordedPictures)
    for name in ("AP2D", "AP3D", "AP3D/0.25", "AP2D/0.95", "car/AP3D", "van/AP2D"):
        assert recorded.ap(f"omni3d/{name}") == pytest.approx(figures[name], abs=1e-12)
    frames = np.random.default_rng(0).integers(0, len(samples), len(samples))
    drawn = Omni3DAP(CLASSES)
    for place, frame in enumerate(np.sort(frames)):
        index = names.index(samples[frame])
        drawn.update([f"{place} again"], truths[index : index + 1], preds[index : index + 1])
    wanted = flatten(drawn.compute())
    for name in ("AP2D", "car/AP3D"):
        assert recorded.ap(f"omni3d/{name}", frames) == pytest.approx(wanted[name], abs=0.5)  # ties fall otherwise
    for figure in ("omni3d/AP3D/near", "omni3d/AP3D/0.33", "car/3d/moderate/0.5", "omni3d/bus/AP3D"):
        with pytest.raises(InputError, match=r"is not recorded: expected omni3d/AP3D, "):
            recorded.ap(figure)
    with pytest.raises(InputError, match="no label that counts among the pictures"):
        recorded.ap("omni3d/tram/AP3D")
