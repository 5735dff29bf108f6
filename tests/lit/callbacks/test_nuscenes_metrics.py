"""The nuScenes callback: what it logs, what it writes, and whom it asks for ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import DETECTION_NAMES, GlobalBoxes, GroundTruth, SampleTruth
from datamodules.nuscenes.format import read_submission, write_ground_truth
from lit.callbacks.nuscenes_metrics import DirectScoring, NuscenesMetrics, NuscenesScoring
from lit.commands.bench.nuscenes import draw_samples
from lit.experiments.recorded import read_recorded
from lit.metrics.nuscenes.evaluation import VERSION, evaluate_boxes, evaluate_files, flatten, gather_samples

TRUTHS, PREDICTIONS = draw_samples(7, 14, 24, seed=3)


@dataclass
class Samples:
    """The part of a batch that the callback reads."""

    sample_ids: list[str]
    truths: list[SampleTruth]

    def to(self, *_: object, **__: object) -> Samples:
        """Lightning moves what has this method, and would edit other dataclasses field by field."""
        return self


def batch_of(tokens: list[str]) -> Samples:
    return Samples(tokens, [TRUTHS[token] for token in tokens])


class Detector(pl.LightningModule):
    """Returns the drawn predictions."""

    def validation_step(self, batch: Samples, batch_idx: int) -> Any:
        return [(token, PREDICTIONS[token]) for token in batch.sample_ids]

    test_step = validation_step


class Forgetful(Detector):
    def validation_step(self, batch: Samples, batch_idx: int) -> Any:
        return super().validation_step(batch, batch_idx)[1:]


def loader() -> DataLoader:
    padded = [*TRUTHS, next(iter(TRUTHS))]  # the last batch repeats the first sample, as padded samplers do
    return DataLoader(padded, batch_size=3, collate_fn=batch_of)  # type: ignore[arg-type]


def trainer(folder: Path, callback: pl.Callback) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(default_root_dir=folder, accelerator="cpu", callbacks=[callback], **quiet)  # type: ignore[arg-type]


def expected() -> dict[str, float]:
    return {f"nuscenes/{name}": value for name, value in flatten(evaluate_boxes(TRUTHS, ordered())).items()}


def ordered() -> dict[str, GlobalBoxes]:
    """Predictions in the order in which the metric breaks ties."""
    return gather_samples(PREDICTIONS)


def test_validation_logs_every_figure(tmp_path: Path) -> None:
    callback = NuscenesMetrics()
    run = trainer(tmp_path, callback)
    for _ in range(2):  # a second epoch starts anew
        (figures,) = run.validate(Detector(), loader(), verbose=False)
        assert figures == pytest.approx(expected(), abs=1e-6)  # Lightning logs float32
    assert {"nuscenes/mAP", "nuscenes/NDS", "nuscenes/mATE", "nuscenes/car/AP", "nuscenes/bus/AAE"} <= set(figures)
    assert callback.evaluator == {"name": "nuscenes", "version": VERSION}
    assert not (tmp_path / "results_nusc.json").exists()


def test_prefixes_choose_what_is_logged(tmp_path: Path) -> None:
    (figures,) = trainer(tmp_path, NuscenesMetrics(prefixes=["mAP", "car/AP"])).validate(
        Detector(), loader(), verbose=False
    )
    assert set(figures) == {f"nuscenes/{name}" for name in ("mAP", "car/AP", *(f"car/AP/{d}.0" for d in (1, 2, 4)))} | {
        "nuscenes/car/AP/0.5"
    }


@pytest.mark.parametrize("name", [None, "else/where.json"])
def test_test_writes_the_submission(tmp_path: Path, name: str | None) -> None:
    callback = NuscenesMetrics(path=None if name is None else str(tmp_path / name))
    (figures,) = trainer(tmp_path, callback).test(Detector(), loader(), verbose=False)
    path = tmp_path / (name or "results_nusc.json")
    read = read_submission(path)
    assert read.meta["use_camera"] is True
    assert list(read.samples.tokens) == list(ordered())
    write_ground_truth(tmp_path / "gt.json", GroundTruth.join(TRUTHS))
    written = flatten(evaluate_files(tmp_path / "gt.json", path))
    assert figures == pytest.approx({f"nuscenes/{key}": value for key, value in written.items()}, abs=1e-6)


class Halved(DirectScoring):
    """Evaluates against ground truth that lacks half its boxes."""

    def sample_truths(self, batch: Any) -> Sequence[tuple[str, SampleTruth]]:
        return [
            (token, SampleTruth(truth.boxes[::2], truth.ego_translation, truth.bikeracks))
            for token, truth in super().sample_truths(batch)
        ]


class HalvedData(pl.LightningDataModule, Halved):
    def val_dataloader(self) -> DataLoader:
        return loader()


def test_the_data_module_may_convert(tmp_path: Path) -> None:
    assert isinstance(HalvedData(), NuscenesScoring)
    (full,) = trainer(tmp_path, NuscenesMetrics()).validate(Detector(), loader(), verbose=False)
    (asked,) = trainer(tmp_path, NuscenesMetrics()).validate(Detector(), HalvedData(), verbose=False)
    (given,) = trainer(tmp_path, NuscenesMetrics(Halved())).validate(Detector(), loader(), verbose=False)
    assert asked == given != full


def test_every_sample_needs_its_predictions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="return one entry for each sample of the batch"):
        trainer(tmp_path, NuscenesMetrics()).validate(Forgetful(), loader(), verbose=False)


def test_states_follow_the_module(tmp_path: Path) -> None:
    callback = NuscenesMetrics()
    callback.on_validation_epoch_start(trainer(tmp_path, callback), Detector())
    callback.on_validation_batch_end(
        trainer(tmp_path, callback), Detector(), [*PREDICTIONS.items()], batch_of([*TRUTHS]), 0
    )
    assert callback.metric.gt_rows[0].dtype == torch.float64


def test_leaves_what_each_sample_adds(tmp_path: Path) -> None:
    callback = NuscenesMetrics()
    trainer(tmp_path, callback).validate(Detector(), loader(), verbose=False)
    entry = callback.raw["val"]
    assert entry["file"] == f"sample_matches_val_{entry['sha256'][:12]}.npz"
    frames = read_recorded(tmp_path / entry["file"], entry["sha256"])
    assert set(frames.samples) == set(TRUTHS)
    assert frames.groups == frames.samples
    for name in ("mAP", "car/AP", "pedestrian/AP/4.0"):
        assert frames.ap(f"nuscenes/{name}") == expected()[f"nuscenes/{name}"]
    with pytest.raises(InputError, match="of the record"):
        read_recorded(tmp_path / entry["file"], "0" * 64)


def test_a_nearer_range_is_the_benchmark_on_what_stands_nearer(tmp_path: Path) -> None:
    reach = {"car": 18.0, "pedestrian": 25.0}
    callback = NuscenesMetrics(class_range=reach)
    (figures,) = trainer(tmp_path, callback).validate(Detector(), loader(), verbose=False)

    def near(token: str, boxes: GlobalBoxes) -> GlobalBoxes:
        apart = np.linalg.norm((boxes.translation - TRUTHS[token].ego_translation)[:, :2], axis=1)
        limits = np.array([reach.get(name, np.inf) for name in DETECTION_NAMES])
        return boxes[np.flatnonzero(apart < limits[boxes.labels])]

    truths = {token: replace(truth, boxes=near(token, truth.boxes)) for token, truth in TRUTHS.items()}
    found = {token: near(token, boxes) for token, boxes in ordered().items()}
    nearer = {f"nuscenes/{name}": value for name, value in flatten(evaluate_boxes(truths, found)).items()}
    assert figures == pytest.approx(nearer, abs=1e-6)
    assert nearer["nuscenes/car/AP"] != expected()["nuscenes/car/AP"]
    assert callback.evaluator["version"] == f"{VERSION}; car within 18 m; pedestrian within 25 m"
    assert callback.metric.trace is not None
    _, matches = callback.metric.trace
    counted = [((kept := near(t, v.boxes)).labels == 0) & (kept.num_pts != 0) for t, v in TRUTHS.items()]
    assert matches["car"].counted.sum() == np.concatenate(counted).sum()


@pytest.mark.parametrize("reach", [{"van": 20.0}, {"car": 0.0}, {"car": float("nan")}])
def test_a_range_of_no_class_or_no_length_is_refused(reach: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"class_range .*: expected metres above 0 of one of car, truck"):
        NuscenesMetrics(class_range=reach)
