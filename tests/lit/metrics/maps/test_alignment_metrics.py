"""Alignment metrics as torchmetrics classes: the functions' figures, repeats, refusals, what is gathered."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from datamodules.errors import InputError
from lit.losses.perceptual import PerceptualLoss
from lit.metrics.alignment import (
    composite,
    edge_average_precision,
    pose_accuracy,
    segmentation_scores,
    ssim,
    view_metrics,
)
from lit.metrics.maps import alignment_metrics
from lit.metrics.maps.alignment_metrics import (
    EdgeAveragePrecision,
    PoseAccuracy,
    ReconstructionScores,
    SegmentationScore,
)
from tests.lit.metrics.maps.gloo_maps import SAMPLES, arguments, build, update

EVERYTHING = [*range(SAMPLES)]


def test_classes_equal_the_functions_and_drop_repeats() -> None:
    metrics: dict[str, Any] = {**build()}
    values = arguments(EVERYTHING)
    for chosen in (EVERYTHING[:13], EVERYTHING[13:], [5, 5, 30]):
        update(metrics, chosen)
    figures = {name: metric.compute() for name, metric in metrics.items()}
    labels, predicted = values["segmentation"]
    assert figures["segmentation"] == segmentation_scores(labels, predicted, 4, 9)
    assert figures["edges"] == pytest.approx(edge_average_precision(*values["edges"]), abs=1e-12)
    assert figures["coarse edges"] == pytest.approx(edge_average_precision(*values["coarse edges"]), abs=1e-12)
    assert figures["poses"] == pytest.approx(pose_accuracy(*values["poses"]), abs=1e-12)
    rendered, target = values["views"]
    expected = {name: float(value.double().mean()) for name, value in view_metrics(rendered, target).items()}
    shown, wanted = composite(rendered, 0.5), composite(target, 0.5)
    expected["ssim"] = float(ssim(shown, wanted).mean())
    expected["perceptual"] = float(PerceptualLoss()(shown.permute(0, 3, 1, 2), wanted.permute(0, 3, 1, 2)))
    assert figures["views"] == pytest.approx(expected, rel=1e-5)
    for metric in metrics.values():
        assert set(metric.evaluator) == {"name", "version"}
        metric.reset()
        assert all(not getattr(metric, name) for name in metric._defaults)


def test_nothing_in_a_metric_asks_for_gradients() -> None:
    metric = ReconstructionScores()
    assert not [p for p in metric.parameters() if p.requires_grad]
    rendered = torch.rand(2, 12, 12, 4, requires_grad=True)
    metric.update(rendered, torch.rand(2, 12, 12, 4), ["a", "b"])
    assert not metric.rows[0].requires_grad


def test_edge_maps_travel_as_their_distinct_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = EdgeAveragePrecision()
    scores = torch.randint(0, 256, (6, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = scores > 100
    metric.update(scores[:5], labels[:5], list("abcde"))
    metric.update(scores[4:], labels[4:], list("ef"))
    monkeypatch.setattr(alignment_metrics.torch.distributed, "get_rank", lambda group=None: 0)
    sent = []

    def gather(tensor: torch.Tensor, group: object = None) -> list[torch.Tensor]:
        sent.append(tensor.clone())
        return [tensor]

    metric._sync_dist(gather)
    assert [len(part) for part in sent] == [7, 1, 256]
    assert int(sent[2][:, 1:].sum()) == 6 * 64 * 64
    assert metric.compute() == pytest.approx(edge_average_precision(scores, labels))


@pytest.mark.filterwarnings("ignore:.*before the ``update`` method.*")
def test_refusals() -> None:
    for metric in (SegmentationScore(3), EdgeAveragePrecision(), ReconstructionScores(), PoseAccuracy()):
        with pytest.raises(InputError, match="an empty set has no score"):
            metric.compute()
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    with pytest.raises(InputError, match="num_classes 1"):
        SegmentationScore(1)
    with pytest.raises(InputError, match="equal shapes"):
        SegmentationScore(3).update(labels, labels[:1], ["a", "b"])
    with pytest.raises(InputError, match="label 3 is outside"):
        SegmentationScore(3).update(labels, labels + 3, ["a", "b"])
    with pytest.raises(InputError, match="1 sample ids"):
        EdgeAveragePrecision().update(labels.float(), labels, ["a"])
    with pytest.raises(InputError, match="equal shapes"):
        EdgeAveragePrecision().update(labels.float(), labels[:1], ["a"])
    with pytest.raises(InputError, match="NaN"):
        EdgeAveragePrecision().update(labels * math.nan, labels, ["a", "b"])
    edges = EdgeAveragePrecision()
    edges.update(labels.float(), labels, ["a", "b"])
    with pytest.raises(InputError, match="no pixel is an edge"):
        edges.compute()
    with pytest.raises(InputError, match="premultiplied RGBA"):
        ReconstructionScores().update(torch.rand(1, 12, 12, 3), torch.rand(1, 12, 12, 3), ["a"])
    with pytest.raises(InputError, match="2 sample ids for 1 samples"):
        PoseAccuracy().update(torch.zeros(1), torch.zeros(1), ["a", "b"])
