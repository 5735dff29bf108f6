"""Depth metrics as torchmetrics classes: the functions' figures, repeats, several processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing

from datamodules.errors import InputError
from lit.metrics.geometry import depth_accuracy, non_flatness_score
from lit.metrics.maps.geometry_metrics import DepthAccuracy, NonFlatnessScore
from tests.lit.metrics.maps.gloo_maps import SAMPLES, build, score_views, update, work


def test_classes_equal_the_functions_and_drop_repeats() -> None:
    pred, target = torch.rand(2, 7, 9, 8, generator=torch.Generator().manual_seed(0))
    mask = pred > 0.2
    ids = [f"{k:06d}" for k in range(7)]
    flatness, accuracy = NonFlatnessScore(0.1, 0.8, bins=32), DepthAccuracy()
    for rows in (slice(0, 4), slice(4, 7), slice(2, 5)):
        flatness.update(pred[rows], ids[rows], mask[rows])
        accuracy.update(pred[rows], target[rows], ids[rows], mask[rows])
    assert flatness.compute() == pytest.approx(non_flatness_score(pred, 0.1, 0.8, 32, mask), rel=1e-12)
    assert accuracy.compute() == pytest.approx(depth_accuracy(pred, target, mask), rel=1e-12)
    assert flatness.counted() == 7
    assert flatness.rows[0].dtype == torch.float64
    assert "32 bins over [0.1, 0.8]" in flatness.evaluator["name"]
    assert flatness.evaluator["version"]
    assert accuracy.evaluator["version"]


@pytest.mark.filterwarnings("ignore:.*before the ``update`` method.*")
def test_refusals() -> None:
    metric = NonFlatnessScore(0, 1)
    assert metric.counted() == 0
    with pytest.raises(InputError, match="an empty set has no score"):
        metric.compute()
    with pytest.raises(InputError, match="1 sample ids for 2 samples"):
        metric.update(torch.rand(2, 4, 4), ["a"])
    with pytest.raises(InputError, match="'ab' for 2 samples"):
        metric.update(torch.rand(2, 4, 4), "ab")
    with pytest.raises(InputError, match="flat inside the mask"):
        DepthAccuracy().update(torch.ones(1, 4, 4), torch.rand(1, 4, 4), ["a"])


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """An odd-sized set padded as DistributedSampler does, a rank without data: every metric, and views."""
    everything = [*range(SAMPLES)]
    cases = {"padded": [everything[::2], [*everything[1::2], 0]], "one": [[], everything]}
    multiprocessing.spawn(work, (str(tmp_path), cases), nprocs=2)
    alone = build()
    update(alone, everything)
    expected = json.loads(json.dumps({name: metric.compute() for name, metric in alone.items()}))
    views = score_views(everything)
    assert set(views["figures"]) == {"psnr", "psnr_object", "mask_iou", "ssim", "perceptual", "nfs", "fid", "kid"}
    for case in cases:
        for rank in range(2):
            found = json.loads((tmp_path / f"{case}{rank}.json").read_text())
            assert found["figures"] == expected, (case, rank)
            assert found["again"] == expected, (case, rank)  # computing left the local state, and 0 is a repeat
            assert found["views"]["figures"] == pytest.approx(views["figures"], rel=1e-9)
            assert found["views"]["evaluator"] == views["evaluator"]
            assert found["views"]["sheet"] == bool(cases[case][rank])
            assert found["sizes"] == len(cases[case][rank])
            assert set(found["distinct"].values()) == {SAMPLES}
