"""Scores of conditional samples: ends of the scale, brackets, and two processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from datamodules.errors import InputError
from lit.metrics.maps.conditional_scores import ConditionalScores, pixels
from lit.metrics.maps.edge_strength import edge_strength
from tests.lit.metrics.maps.gloo_conditional import score, work


def test_two_processes_score_as_one(tmp_path: Path) -> None:
    shards = [[0, 2, 4, 6], [1, 3, 5, 0]]  # a repeat, as padded samplers make it
    torch.multiprocessing.spawn(work, (str(tmp_path), shards), nprocs=2)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for place, edges in enumerate((True, False)):
        alone = score(list(range(7)), edges)
        assert set(alone["figures"]) == (
            {"fid", "kid", "ap", "ap_rgb", "ap_rgb_real"} if edges else {"fid", "kid", "miou", "accuracy"}
        )
        for rank in range(2):
            assert found[rank][place]["figures"] == pytest.approx(alone["figures"], rel=1e-9, abs=1e-9)
        assert alone["counts"] == {"maps": 7, "images": 21}


def test_a_perfect_and_a_blind_segmentation() -> None:
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[:, :4] = 1
    images = [torch.zeros(2, 3, 8, 8)]
    perfect = F.one_hot(labels, 2).movedim(-1, 1).float()
    for logits, miou, accuracy in ((perfect, 1.0, 1.0), (perfect.flip(1), 0.0, 0.0), (perfect * 0, 0.25, 0.5)):
        scores = ConditionalScores(extractor=None, lpips=None)
        scores.start(2, lambda pictures: perfect)
        scores.add(labels, images[0], ["a", "b"], images, [logits])
        figures = scores.means()
        assert figures["miou"] == pytest.approx(miou)
        assert figures["accuracy"] == pytest.approx(accuracy)
        assert figures["miou_rgb"] == figures["accuracy_rgb_real"] == 1


def test_lines_are_the_dark_ones() -> None:
    labels = torch.ones(1, 1, 8, 8)
    labels[..., 3:5] = -1 / 3  # two pixels behind the blur
    labels[..., [2, 5]] = 1 / 3
    images = [torch.zeros(1, 3, 8, 8)]
    for rendered, low, high in ((labels, 1.0, 1.0), (-labels, 0.2, 0.26), (torch.zeros_like(labels), 0.25, 0.25)):
        scores = ConditionalScores(extractor=None, lpips=None)
        scores.start(None, None)
        scores.add(labels, images[0], ["a"], images, [rendered])
        assert low <= scores.means()["ap"] <= high


def test_diversity_needs_two_samples_of_a_map() -> None:
    labels, real = torch.zeros(1, 64, 64, dtype=torch.int64), torch.zeros(1, 3, 64, 64)
    logits = torch.zeros(1, 2, 64, 64)
    scores = ConditionalScores(extractor=None)
    scores.start(2, None)
    scores.add(labels, real, ["a"], [real], [logits])
    assert "sg_diversity" not in scores.means()
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    scores.start(2, None)
    scores.add(labels, real, ["a"], [real, real], [logits] * 2)
    assert scores.means()["sg_diversity"] == 0
    scores.start(2, None)
    scores.add(labels, real, ["a"], [real, noise], [logits] * 2)
    assert scores.means()["sg_diversity"] > 0.01
    assert "diversity/lpips-random-0" in scores.evaluator["name"]


def test_maps_of_another_form_are_refused() -> None:
    labels, real = torch.zeros(1, 8, 8, dtype=torch.int64), torch.zeros(1, 3, 8, 8)
    scores = ConditionalScores(extractor=None, lpips=None)
    scores.start(3, None)
    with pytest.raises(InputError, match="expected logits of 3 classes"):
        scores.add(labels, real, ["a"], [real], [torch.zeros(1, 2, 8, 8)])
    scores.start(None, None)
    with pytest.raises(InputError, match="rendered edges"):
        scores.add(torch.ones(1, 1, 8, 8), real, ["a"], [real], [torch.zeros(1, 1, 4, 4)])


def test_pixels_are_clamped_and_rounded() -> None:
    assert pixels(torch.tensor([-9.0, -1, 0, 0.999, 3])).tolist() == [0, 0, 128, 255, 255]


def test_a_step_has_the_strength_of_its_height() -> None:
    images = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    images[:, 1, :, 3:] = 51
    strength = edge_strength(images)
    assert strength.shape == (1, 1, 6, 6)
    assert strength[0, 0, 2].tolist() == pytest.approx([0, 0, 0.2, 0.2, 0, 0], abs=1e-6)
    assert torch.allclose(edge_strength(images.transpose(2, 3)), strength.transpose(2, 3))
