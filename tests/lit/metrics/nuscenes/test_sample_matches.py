"""What each sample adds to nuScenes' AP: any choice of samples scores as the benchmark says; files of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import GroundTruth, SampleBoxes
from lit.commands.bench.nuscenes import draw_samples
from lit.metrics.nuscenes.evaluation import evaluate_boxes, flatten, trace_samples
from lit.metrics.nuscenes.sample_matches import RecordedSamples, read_matches, write_matches

SAMPLES = 40


def recorded(seed: int = 5) -> RecordedSamples:
    truths, preds = draw_samples(SAMPLES, 14, 24, seed=seed)
    tokens = tuple(truths)
    scenes = tuple(f"scene-{k // 8}" for k in range(SAMPLES))
    return RecordedSamples(tokens, scenes, trace_samples(GroundTruth.join(truths), SampleBoxes.join(preds)), "x (1)")


def test_all_samples_score_as_evaluated() -> None:
    truths, preds = draw_samples(SAMPLES, 14, 24, seed=5)
    figures = flatten(evaluate_boxes(truths, preds))
    frames = recorded()
    names = [name for name in figures if name == "mAP" or "/AP" in name]
    assert len(names) == 1 + 10 * 5
    for name in names:
        assert frames.ap(f"nuscenes/{name}") == frames.ap(f"nuscenes/{name}", np.arange(SAMPLES)) == figures[name]
    assert figures["mAP"] > 0.05


def test_any_samples_score_as_evaluated() -> None:
    """Scores are made distinct: among equal ones the benchmark's order follows the submission, which no draw has."""
    truths, preds = draw_samples(SAMPLES, 14, 24, seed=6)
    rng = np.random.default_rng(0)
    for boxes in preds.values():
        boxes.scores[:] = rng.random(len(boxes))
    tokens = tuple(truths)
    frames = RecordedSamples(tokens, tokens, trace_samples(GroundTruth.join(truths), SampleBoxes.join(preds)))
    for _ in range(5):
        picks = rng.choice(SAMPLES, 25, replace=False)
        some = [tokens[pick] for pick in picks]
        figures = flatten(evaluate_boxes({t: truths[t] for t in some}, {t: preds[t] for t in some}))
        for name in ("mAP", "car/AP", "barrier/AP/2.0", "pedestrian/AP/0.5"):
            assert frames.ap(f"nuscenes/{name}", picks) == figures[name]
        twice = {f"{t} again": truths[t] for t in some} | {t: truths[t] for t in some}
        found = {f"{t} again": preds[t] for t in some} | {t: preds[t] for t in some}
        doubled = frames.ap("nuscenes/mAP", np.concatenate([picks, picks]))
        assert doubled == pytest.approx(flatten(evaluate_boxes(twice, found))["mAP"], abs=0.02)  # ties fall otherwise


def test_a_file_gives_the_same_figures(tmp_path: Path) -> None:
    frames = recorded()
    path = tmp_path / "a.npz"
    checksum = write_matches(path, frames)
    assert checksum == write_matches(tmp_path / "b.npz", frames) == hashlib.sha256(path.read_bytes()).hexdigest()
    again = read_matches(path)
    assert (again.samples, again.groups, again.evaluator) == (frames.samples, frames.groups, frames.evaluator)
    for name, matches in frames.classes.items():
        for field, values in vars(matches).items():
            np.testing.assert_array_equal(values, getattr(again.classes[name], field))
    assert again.ap("nuscenes/mAP", np.array([3, 3, 9])) == frames.ap("nuscenes/mAP", np.array([3, 3, 9]))
    for wrong in ("mAP", "nuscenes/NDS", "nuscenes/tram/AP", "nuscenes/car/AP/3.0"):
        with pytest.raises(InputError, match="is not recorded"):
            again.ap(wrong)


@pytest.mark.parametrize("name", ["version", "samples", "groups", "classes", "counted", "sizes", "sample", "hits"])
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.npz"
    write_matches(path, recorded())
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    arrays[name] = np.array(99, np.uint8) if name == "version" else arrays[name][:-1]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="expected sample matches"):
        read_matches(path)
