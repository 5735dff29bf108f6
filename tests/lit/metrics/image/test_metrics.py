"""Image metrics as torchmetrics: repeats, forms of the FID state, one process against two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing

from datamodules.errors import InputError
from lit.features.random_extractor import RandomExtractor
from lit.metrics.image.diversity import SampleDiversity
from lit.metrics.image.metrics import FrechetDistance, InceptionScore, KernelDistance, PrecisionRecall
from lit.metrics.image.scores import frechet_distance, inception_scores, kernel_distances, precision_recall
from tests.lit.metrics.image import gloo_image
from tests.lit.metrics.image.gloo_image import COUNTS, feed, images

EVERYTHING = {side: list(range(count)) for side, count in COUNTS.items()}


def test_two_processes_give_the_figure_of_one(tmp_path: Path) -> None:
    """An odd-sized set padded as DistributedSampler does; a rank that saw nothing; a rank with one side each.

    This process is the first of the two: starting one costs seconds of imports.
    """
    other = multiprocessing.get_context("spawn").Process(target=gloo_image.work, args=(1, str(tmp_path)))
    other.start()
    try:
        gloo_image.work(0, str(tmp_path))
    finally:
        other.join()
    assert other.exitcode == 0
    figures = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for name, build in gloo_image.metrics().items():
        value = feed(build(), EVERYTHING).compute()
        expected = pytest.approx(list(value) if isinstance(value, tuple) else [value], rel=1e-9)
        for split in ("padded", "empty", "one side", *(["nameless"] if name == "fid_sums" else [])):
            for found in figures:
                assert found[f"{name}/{split}"] == expected, (name, split)
    diversity = SampleDiversity(seed=1, pairs=3)
    for condition in range(3):
        diversity.update(gloo_image.scores(condition), [f"condition{condition}"])
    assert all(found["diversity"] == pytest.approx([diversity.compute()], rel=1e-9) for found in figures)


def spread(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


def test_metrics_equal_the_functions() -> None:
    extractor = RandomExtractor(0)
    (real, _), (fake, logits) = extractor.both(images("real")), extractor.both(images("fake"))
    assert logits is not None
    assert feed(FrechetDistance(extractor), EVERYTHING).compute() == pytest.approx(frechet_distance(real, fake))
    parts = {"real": images("real"), "fake": images("fake")}
    for metric, expected in (
        (KernelDistance(extractor, 3, 30, seed=5), spread(kernel_distances(real, fake, 3, 30, seed=5))),
        (InceptionScore(extractor), spread(inception_scores(logits.softmax(1)))),
        (PrecisionRecall(extractor, 2), precision_recall(real, fake, 2)),
    ):
        for side, batch in parts.items():
            metric.update(batch, real=side == "real", sample_ids=range(len(batch)))
        assert metric.compute() == pytest.approx(expected, rel=1e-9)
        assert metric.name == metric.evaluator["name"] == f"{metric.kind}/random-0"


@pytest.mark.parametrize("width", [2, 16])
def test_repeats_count_once_whenever_they_come(width: int) -> None:
    """Also after the first copy went into the sums, which holds for 8 dimensions but not for 64."""
    expected = feed(FrechetDistance(RandomExtractor(0, width)), EVERYTHING).compute()
    repeated = {side: [*positions, *positions[::3], 0, 0] for side, positions in EVERYTHING.items()}
    metric = feed(FrechetDistance(RandomExtractor(0, width)), repeated)
    assert bool(metric.real_count) == (width == 2)
    assert metric.compute() == pytest.approx(expected, rel=1e-9)
    twice = FrechetDistance(RandomExtractor(0, width))
    for _ in range(2):
        for side in COUNTS:
            twice.update(images(side), real=side == "real")
    doubled = [RandomExtractor(0, width)(images(side)).repeat(2, 1) for side in COUNTS]
    assert twice.compute() == pytest.approx(frechet_distance(*doubled), rel=1e-9)  # without ids every image counts


def test_more_updates_after_a_computation_and_reset() -> None:
    metric = FrechetDistance(RandomExtractor(0, 2))
    half = {side: positions[:20] for side, positions in EVERYTHING.items()}
    feed(metric, half).compute()
    assert feed(metric, EVERYTHING).compute() == pytest.approx(
        feed(FrechetDistance(RandomExtractor(0, 2)), EVERYTHING).compute(), rel=1e-9
    )
    metric.reset()
    assert feed(metric, half).compute() == pytest.approx(
        feed(FrechetDistance(RandomExtractor(0, 2)), half).compute(), rel=1e-9
    )


def test_batches_do_not_matter() -> None:
    one = FrechetDistance(RandomExtractor(0))
    for side in COUNTS:
        one.update(images(side), real=side == "real")
    assert one.compute() == pytest.approx(feed(FrechetDistance(RandomExtractor(0)), EVERYTHING).compute(), rel=1e-11)


def test_what_cannot_be_scored_is_refused() -> None:
    metric = FrechetDistance(RandomExtractor(0))
    with pytest.raises(InputError, match="0 real images, expected at least 2"):
        metric.compute()
    metric.update(images("real")[:1], real=True)
    metric.update(images("fake"), real=False)
    with pytest.raises(InputError, match="1 real images, expected at least 2"):
        metric.compute()
    with pytest.raises(InputError, match="3 sample ids for 2 images"):
        metric.update(images("real")[:2], real=True, sample_ids=["a", "b", "c"])
    with pytest.raises(InputError, match="sample id -4"):
        metric.update(images("real")[:2], real=True, sample_ids=[-4, 5])
    with pytest.raises(InputError, match="span"):
        metric.update(images("real").float(), real=True)
    for other in (KernelDistance(RandomExtractor(0)), InceptionScore(RandomExtractor(0))):
        with pytest.raises(InputError, match=r"expected|add images"):
            feed(other, {"real": [0, 1, 2], "fake": [0, 1]}).compute()


def test_features_that_are_not_finite_are_refused() -> None:
    extractor: Any = RandomExtractor(0)
    extractor.layers[0].weight[0, 0, 0, 0] = float("nan")
    for metric in (FrechetDistance(extractor), KernelDistance(extractor, 1, None), PrecisionRecall(extractor)):
        with pytest.raises(InputError, match="NaN or infinite"):
            feed(metric, EVERYTHING).compute()


def test_the_extractor_stays_frozen() -> None:
    metric: Any = FrechetDistance(RandomExtractor(0)).train()
    assert not metric.extractor.training
    assert not any(parameter.requires_grad for parameter in metric.parameters())
    owner: Any = torch.nn.ModuleList([metric]).train()
    assert isinstance(owner[0].extractor.layers[0].training, bool)
    assert not metric.extractor.layers[0].training
