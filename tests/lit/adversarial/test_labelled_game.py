from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from datamodules.objects.labelled_views import LabelledViews
from lit.adversarial.fading_blur import FadingBlur, blurred
from lit.adversarial.labelled_game import LabelledGame, LabelledWeights, Play
from lit.losses.adversarial import generator_loss
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from tests.lit.networks.pix2pix3d.small import around, label_maps, small


def critic(channels: int) -> StyleGAN2Discriminator:
    return StyleGAN2Discriminator(16, 64, 8, 2, channels, channels, 25, 256.0)


def game(kind: str = "segmentation", weights: LabelledWeights | None = None, **options: Any) -> LabelledGame:
    torch.manual_seed(0)
    classes = 1 if kind == "edges" else 4
    shown = classes + (3 if options.get("aligned", True) else 0)
    chosen = weights or LabelledWeights(smooth=1.0, cross_view=1.0)
    return LabelledGame(small(kind), critic(3), critic(shown), None, chosen, **options)


def play(kind: str = "segmentation", own: bool = True) -> Play:
    torch.manual_seed(1)
    cameras = around(2)
    batch = LabelledViews(torch.rand(2, 3, 16, 16) * 2 - 1, label_maps(kind), cameras, ["a", "b"])
    return Play(batch, torch.randn(2, 8), own, cameras.flip(0), noise="none")


def moved(network: nn.Module) -> set[str]:
    """Names of what has a gradient."""
    return {name for name, p in network.named_parameters() if p.grad is not None and bool(p.grad.any())}


@pytest.mark.parametrize("kind", ["segmentation", "edges"])
@pytest.mark.parametrize("own", [True, False])
def test_terms_follow_the_pose_rule(kind: str, own: bool) -> None:
    terms = game(kind).generator_losses(play(kind, own))
    known = {"adversarial", "adversarial_labels", "cross_view"}
    assert set(terms) == known | ({"pictures", "labels"} if own else set())
    assert all(bool(term.isfinite()) and float(term.detach()) > 0 for term in terms.values())


def test_the_judge_of_labels_teaches_the_generator_labels_alone() -> None:
    one, step = game(), play()
    fake, _ = one.fake(step)
    generator_loss(one.judge_labels(*one.fake_pairs(fake), step.cameras)).backward()
    names = moved(one.generator)
    assert not any(name.startswith(("decoder.colour", "upsample_image")) for name in names)
    assert any(name.startswith("decoder.label") for name in names)
    assert any(name.startswith("upsample_labels") for name in names)
    assert any(name.startswith("mapping.encoder") for name in names)
    one.zero_grad()
    one.label_critic_loss(step, one.unlearnt(step)[0]).backward()
    assert not moved(one.generator)
    judge: Any = one.label_critic
    entry = judge.from_rgb.weight.grad.flatten(2).norm(dim=(0, 2))
    assert bool((entry > 0).all())  # it sees pictures and labels itself


def test_cross_view_consistency_teaches_the_way_back_alone() -> None:
    one, step = game(), play()
    fake, latent = one.fake(step)
    calls: list[bool] = []
    one.generator.synthesis.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    one.cross_view(fake, latent, step).backward()
    assert calls == [False, True]  # one rendering is taken over from the step itself
    assert fake.labels_raw.grad_fn is not None
    names = moved(one.generator)
    assert any(name.startswith("mapping.encoder") for name in names)
    assert not any(name.startswith("upsample") for name in names)


def test_switches() -> None:
    step = play()
    without = game(labels_3d=False).generator_losses(step)
    assert set(without) == {"adversarial", "pictures"}
    assert "cross_view" not in game(weights=LabelledWeights(smooth=1.0, cross_view=0.0)).generator_losses(step)
    alone = game(aligned=False)
    assert alone.label_critic is not None
    image, raw = alone.real_pairs(step)
    logits = alone.judge_labels(image, raw, step.cameras)
    assert torch.equal(logits, alone.judge_labels(torch.cat([-image[:, :3], image[:, 3:]], 1), raw, step.cameras))
    blind = LabelledGame(small(), None, None, None, LabelledWeights(smooth=1.0, cross_view=0.0))
    assert set(blind.generator_losses(step)) == {"pictures", "labels"}
    whole = game(weights=LabelledWeights(smooth=1.0, full_size=True)).generator_losses(step)
    assert whole["pictures"] > game(weights=LabelledWeights(smooth=1.0)).generator_losses(step)["pictures"]


def test_penalties_are_positive_and_differentiable() -> None:
    one, step = game(), play()
    for penalty in (one.image_r1(step), one.label_r1(step), one.density(step, points=20)):
        assert float(penalty.detach()) > 0
        assert penalty.requires_grad
    assert float(one.density(step, distance=0.0, points=20).detach()) == 0.0


def test_the_blur_fades_and_keeps_the_mean_of_a_plain_picture() -> None:
    blur = FadingBlur(4.0, 1000)
    assert [blur.at(seen) for seen in (0, 500, 1000, 2000)] == [4.0, 2.0, 0.0, 0.0]
    assert FadingBlur().at(0) == 0.0
    images = torch.zeros(1, 2, 33, 33)
    images[:, :, 16, 16] = 1.0
    spread = blurred(images, 2.0)
    assert torch.allclose(spread.sum((2, 3)), torch.ones(1, 2), atol=1e-4)
    assert spread[0, 0, 16, 18].item() == pytest.approx(float(spread[0, 0, 16, 16]) / 2)  # half at one sigma
    assert torch.equal(blurred(images, 0.3), images)
