from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.image.inception import InceptionScore as TorchmetricsScore

from datamodules.errors import InputError
from lit.features.build import build_extractor
from lit.metrics.geometry import depth_accuracy, non_flatness_score
from lit.metrics.maps.single_view import SingleViewFigures


def maps(seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(8, 8, generator=draw), torch.rand(8, 8, 3, generator=draw)


def test_figures_are_those_of_the_metrics_by_part() -> None:
    figures, (first, picture), (second, other) = SingleViewFigures([0.0, 18.0]), maps(0), maps(1)
    known = second.clone()
    known[:2] = float("nan")
    figures.add_own("a", picture, other, first, known)
    for view, turn in enumerate((10.0, 24.0, 60.0, 170.0)):
        figures.add_truth(f"a/{view}", turn, picture, other, first, first + view)
    opacity = torch.ones(8, 8)
    opacity[:, 0] = 0
    figures.add_turned("a", 18.0, picture, other, 2 * first - 1, opacity)
    means = figures.means()
    inside = ~known.isnan()
    assert means["depth_accuracy"] == pytest.approx(
        depth_accuracy(first[None], torch.nan_to_num(known)[None], inside[None])
    )
    assert means["psnr_photo"] == pytest.approx(float(-10 * torch.log10((picture - other).square().mean())), rel=1e-5)
    assert {name for name in means if "_to_" in name} == {
        f"{kind}_to_{end}" for kind in ("psnr", "depth_accuracy") for end in (25, 100, 180)
    }
    assert means["depth_accuracy_to_25"] == pytest.approx(0, abs=1e-9)
    wanted = non_flatness_score((2 * first - 1)[None], -1, 1, mask=(opacity > 0.5)[None])
    assert means["nfs_yaw_18"] == pytest.approx(wanted)
    assert "nfs_yaw_0" not in means


def test_flat_and_unknown_maps_have_their_rule() -> None:
    figures, (depth, picture) = SingleViewFigures([]), maps(0)
    figures.add_own("flat", picture, picture, torch.zeros(8, 8), depth)
    figures.add_own("unknown", picture, picture, depth, torch.full((8, 8), float("nan")))
    assert figures.means()["depth_accuracy"] == 2.0
    figures.reset()
    assert figures.means() == {}


def test_repeated_photographs_count_once_and_fid_compares_sets() -> None:
    figures = SingleViewFigures([0.0], "random:0")
    for name in ("a", "b", "a"):
        depth, picture = maps(ord(name))
        figures.add_own(name, picture, picture, depth, depth)
        figures.add_turned(name, 0.0, picture, picture, 2 * depth - 1, torch.ones(8, 8))
    means = figures.means()
    assert means["fid_yaw_0"] == pytest.approx(0, abs=1e-6)
    assert np.isfinite(means["nfs_yaw_0"])
    with pytest.raises(InputError, match="expected degrees from 0 to 180"):
        SingleViewFigures([-5.0])


def test_the_inception_score_is_that_of_torchmetrics() -> None:
    figures, features = SingleViewFigures([0.0, 18.0], "random:0", splits=1), build_extractor("random:0")
    other = TorchmetricsScore(feature=torch.nn.Identity(), splits=1)
    for number in range(6):
        depth, picture = maps(number)
        name, opacity = str(number), torch.ones(8, 8)
        figures.add_own(name, picture, picture, depth, depth)
        figures.add_turned(name, 0.0, picture, picture, 2 * depth - 1, opacity)
        figures.add_turned(name, 18.0, picture * 0.5, picture, 2 * depth - 1, opacity)
        pixels = (picture * 255).round().byte().permute(2, 0, 1)[None]
        logits = features.both(pixels)[1]
        assert logits is not None
        other.features.append(logits)
    means = figures.means()
    assert means["is_yaw_0"] == pytest.approx(float(other.compute()[0]), rel=1e-9)
    assert means["is_yaw_0"] != means["is_yaw_18"] > 1
    table = figures.by_yaw(means)
    assert table["yaw"] == [0, 18]
    assert table["fid"] == [means["fid_yaw_0"], means["fid_yaw_18"]]
    assert table["is"] == [means["is_yaw_0"], means["is_yaw_18"]]
    assert set(table) == {"yaw", "fid", "is", "nfs"}
    assert "is/random-0" in figures.evaluator["name"]
    assert "is_yaw_0" not in {**SingleViewFigures([0.0], "random:0", splits=10).means()}
