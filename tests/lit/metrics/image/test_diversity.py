"""Sample diversity: pairs, means over conditions, weights from files."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from datamodules.errors import InputError
from lit.features.lpips_distance import LpipsDistance
from lit.metrics.image.diversity import SampleDiversity


def samples(seed: int, count: int = 4) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def rounded(images: Tensor) -> Tensor:
    return (images * 255).round() / 255


def test_mean_over_all_pairs_then_over_conditions() -> None:
    """More samples of one condition do not give it more weight."""
    metric, distance = SampleDiversity(pairs=100), LpipsDistance(None, "alex")
    expected = []
    for seed, count in ((0, 2), (1, 5)):
        metric.update(samples(seed, count)[None], [f"condition {seed}"])
        images = rounded(samples(seed, count))
        pairs = [distance(images[i : i + 1], images[j : j + 1]) for i, j in itertools.combinations(range(count), 2)]
        expected.append(float(torch.cat(pairs).double().mean()))
    assert metric.compute() == pytest.approx(sum(expected) / 2, rel=1e-6)


def test_pairs_depend_on_seed_and_condition_only() -> None:
    """Not on the order or grouping of the updates; a repeated condition counts once."""
    first, second = SampleDiversity(pairs=3, seed=2), SampleDiversity(pairs=3, seed=2)
    first.update(torch.stack([samples(0), samples(1)]), ["a", "b"])
    for seed, name in ((1, "b"), (0, "a"), (1, "b")):
        second.update(samples(seed)[None], [name])
    assert first.compute() == pytest.approx(second.compute(), rel=1e-12)
    assert len(set(first._pairs(7, 6))) == 3
    assert first._pairs(7, 6) == second._pairs(7, 6)
    assert first._pairs(7, 6) != first._pairs(8, 6)
    assert all(i < j < 6 for i, j in first._pairs(7, 6))


def test_equal_samples_have_no_diversity() -> None:
    metric = SampleDiversity().train()
    metric.update(samples(0, 1).expand(3, -1, -1, -1)[None], ["a"])
    assert metric.compute() == 0
    assert not metric.distance.training
    assert metric.name == "diversity/lpips-random-0"


def test_alexnet_weights_from_a_file(tmp_path: Path) -> None:
    """torchvision's names reach the right layers: the activations are torchvision's."""
    torch.manual_seed(0)
    model = torchvision.models.alexnet(weights=None).eval()
    path = tmp_path / "alexnet.pth"
    torch.save(model.state_dict(), path)
    distance = SampleDiversity("alex", str(path)).distance
    images = samples(0)
    found = distance.trunk.activations(images)
    taps = (1, 4, 7, 9, 11)
    expected = [model.features[: tap + 1](images) for tap in taps]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected))
    assert float(distance(images[:1], images[1:2])) > 0
    torch.save({"features.0.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="expected"):
        SampleDiversity("alex", str(path))


def test_what_cannot_be_scored_is_refused() -> None:
    metric = SampleDiversity()
    cases = [
        (lambda: metric.update(samples(0, 1)[None], ["a"]), "1 samples a condition: diversity needs at least 2"),
        (lambda: metric.update(samples(0), ["a"]), "shape"),
        (lambda: metric.update(samples(0)[None], ["a", "b"]), "2 sample ids for 1"),
        (lambda: metric.update(samples(0)[None] * 255, ["a"]), "span"),
        (lambda: SampleDiversity("squeeze"), "expected alex, vgg or random"),
        (lambda: SampleDiversity("alex"), "needs a file of weights"),
        (lambda: SampleDiversity("vgg", "no/such.pth"), "no such file"),
        (lambda: SampleDiversity(pairs=0), "pairs is 0"),
    ]
    for call, says in cases:
        with pytest.raises(InputError, match=says):
            call()
    with pytest.raises(InputError, match="no condition"):
        metric.compute()
