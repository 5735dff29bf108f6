"""One step of each phase against the official losses and gradients."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datamodules.objects.labelled_views import LabelledViews
from lit.adversarial.fading_blur import blurred
from lit.adversarial.labelled_game import LabelledGame, LabelledWeights, Play
from lit.weights.official.pix2pix3d_names import discriminator_state, generator_state
from tests.lit.networks.pix2pix3d.reference import (
    CASES,
    FOLDER,
    arrays,
    discriminator,
    far,
    generator,
    labels_of,
    require,
)

SCRIPTS: dict[str, dict[str, Any]] = {
    "edge": {"labels": 10.0, "cross_view": 1e-6, "full_size": True},
    "seg": {"cross_view": 1e-4},
}
GAMMA = {"edge": 0.3, "seg": 5.0}


@pytest.fixture(autouse=True)
def needed() -> None:
    require()


class Squared(nn.Module):
    """What stands in the reference answers for LPIPS: the mean squared difference of images in [-1, 1]."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return (2 * (first - second)).square().mean((1, 2, 3))


def game(case: str, **weights: Any) -> LabelledGame:
    settings = LabelledWeights(**{**SCRIPTS[case], **weights})
    networks = generator(case), discriminator(case, "D"), discriminator(case, "Ds")
    return LabelledGame(*networks, Squared(), settings)


def play(case: str, own: bool = True) -> Play:
    stored = arrays(f"{case}_loss")
    labels = labels_of(case, stored["batch_label"])
    batch = LabelledViews(stored["batch_image"], labels, stored["batch_pose"], ["a", "b"])
    return Play(batch, stored["gen_z"], own, stored["gen_c"], noise="none")


def gradients(case: str, kind: str, network: nn.Module) -> list[tuple[str, Tensor]]:
    """Gradients with the official names, in the order in which the reference answers list them."""
    stored = arrays(f"{case}_{kind}_state")
    read = generator_state if kind == "G" else discriminator_state
    names = [key for key in stored if not key.endswith(("resample_filter", "dataset_label_std", "alpha"))]
    marked = {name: torch.full((1,), float(number)) for number, name in enumerate(names)}
    ours = {names[int(value.flatten()[0])]: key for key, value in read(marked, "reference").items()}
    parameters = dict(network.named_parameters())
    found = []
    for name in json.loads((FOLDER / f"{case}.json").read_text())["loss"]["parameter_order"][kind]:
        gradient = parameters[ours[name]].grad
        found.append((name, torch.zeros(stored[name].shape) if gradient is None else gradient.view(stored[name].shape)))
    return found


def check(case: str, tag: str, kind: str, network: nn.Module) -> None:
    """Norms of all gradients, and some in full."""
    stored, found = arrays(f"{case}_loss"), gradients(case, kind, network)
    norms, wanted = torch.stack([value.norm() for _, value in found]), stored[f"{tag}_grad_norms"]
    known = wanted > 1e-6 * wanted.max()
    assert float((norms / wanted - 1).abs()[known].max()) < 2e-3
    for name, gradient in found:
        if (whole := stored.get(f"{tag}_grad_{name}")) is not None:
            assert far(gradient, whole) <= 2e-3 * float(whole.abs().max()), name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tag", ["Gmain_image_pose", "Gmain_random_pose", "Gmain_variant"])
def test_the_generators_losses_and_gradients(case: str, tag: str) -> None:
    variant = {"smooth": 2.0, "cross_view": 0.1, "full_size": case == "seg"} if tag.endswith("variant") else {}
    one, stored = game(case, **variant), arrays(f"{case}_loss")
    terms = one.generator_losses(play(case, own=not tag.endswith("random_pose")))
    torch.stack(list(terms.values())).sum().backward()
    wanted = {name: stored[f"{tag}_Loss.G.loss_{name}"].mean() for name in ("img_reconstruction", "cross_view")}
    wanted["labels"] = stored[f"{tag}_Loss.G.loss_semantic_reconstruction"]
    if "pictures" in terms:
        assert terms["pictures"].item() == pytest.approx(float(wanted["img_reconstruction"]), rel=1e-4)
        assert terms["labels"].item() == pytest.approx(float(wanted["labels"]), rel=1e-4)
    assert ("pictures" in terms) == (tag != "Gmain_random_pose")
    assert terms["cross_view"].item() == pytest.approx(float(wanted["cross_view"]), rel=1e-3)
    main = torch.stack([value for name, value in terms.items() if name != "cross_view"]).sum()
    assert main.item() == pytest.approx(float(stored[f"{tag}_Loss.G.loss"].mean()), rel=1e-4)
    check(case, tag, "G", one.generator)


@pytest.mark.parametrize("case", CASES)
def test_the_density_term(case: str) -> None:
    one, stored, step = game(case), arrays(f"{case}_loss"), play(case)
    latent = one.generator.latents(step.z, step.batch.cameras, step.batch.labels)
    loss = 0.25 * 4 * one.density_at(latent, stored["Greg_points"], stored["Greg_perturbed"], "none")
    loss.backward()
    check(case, "Greg", "G", one.generator)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["D", "Ds"])
def test_the_discriminators_losses_penalties_and_gradients(case: str, kind: str) -> None:
    one, stored, step = game(case), arrays(f"{case}_loss"), play(case)
    critic = one.image_critic if kind == "D" else one.label_critic
    assert critic is not None
    main, lazy = ("Dmain", "Dreg") if kind == "D" else ("D_semanticmain", "D_semanticreg")
    fake, latent = one.unlearnt(step)
    loss = one.image_critic_loss(step, fake) if kind == "D" else one.label_critic_loss(step, fake)
    loss.backward()
    name = "D.loss" if kind == "D" else "D.loss_semantic"
    assert loss.item() == pytest.approx(float(stored[f"{main}_Loss.{name}"].mean()), rel=1e-4)
    check(case, main, kind, critic)
    assert all(parameter.grad is None for parameter in one.generator.parameters())
    if kind == "D":
        one.generator.mapping.follow(latent.mean(0), 0.995)
        assert far(one.generator.mapping.w_avg, stored["Dmain_w_avg_after"]) < 1e-5
    critic.zero_grad()
    penalty = one.image_r1(step) if kind == "D" else one.label_r1(step)
    (16 * GAMMA[case] / 2 * penalty).backward()
    name = "r1_penalty" if kind == "D" else "r1_penalty_semantic"
    assert penalty.item() == pytest.approx(float(stored[f"{lazy}_Loss.{name}"].mean()), rel=1e-3)
    check(case, lazy, kind, critic)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_the_blur(case: str) -> None:
    one, stored, step = game(case), arrays(f"{case}_loss"), play(case)
    assert far(blurred(step.batch.images, 4.0)[:, :, ::2, ::2], stored["D_real_blur4_image_every2"]) < 1e-5
    raw = one.real_images(step)[1]
    logits = one.judge_images(step.batch.images, raw, step.batch.cameras, 4.0)
    assert far(logits, stored["D_real_blur4_logits"]) < 1e-4
