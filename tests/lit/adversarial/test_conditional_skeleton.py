"""A toy conditional GAN of pix2pix3D's shape on the engine: three phases, two discriminators, a coin for each pose."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit.adversarial.diff_augment import DiffAugment
from lit.adversarial.image_cadence import Cadence
from lit.adversarial.phase import Penalty, Phase, Turn, lazy_adam
from lit.adversarial.weight_average import WeightAverage
from lit.generators.adversarial_generator import AdversarialGenerator
from lit.losses.adversarial import discriminator_loss, generator_loss, r1_at
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator


class Labelled(NamedTuple):
    images: Tensor  # (B, 3, 8, 8)
    labels: Tensor  # (B, 2, 8, 8), one of two classes
    pose: Tensor  # (B, 4)


class ToyPix2Pix(AdversarialGenerator):
    def __init__(self) -> None:
        super().__init__(total_images=10_000, seed=0)
        self.network = nn.Sequential(nn.Conv2d(6, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 5, 3, padding=1))
        self.averaging = WeightAverage(copy.deepcopy(self.network), self.network, half_life=32.0)
        self.image = StyleGAN2Discriminator(8, 64, 8, raw_channels=3, c_dim=4)
        self.label = StyleGAN2Discriminator(8, 64, 8, input_channels=5, raw_channels=5)
        self.augment = DiffAugment(["colour", "translation"])
        self.coins: list[tuple[str, bool]] = []

    def phases(self) -> list[Phase]:
        density = Penalty("density", lambda turn: self.fake(turn, "density")[0].square().mean(), 0.25, Cadence(32))
        phases = [Phase("generator", lazy_adam(self.network.parameters(), 0.01, [4]), self.generator_losses, [density])]
        for name, critic in (("image", self.image), ("label", self.label)):
            r1 = Penalty(f"{name}_r1", lambda turn, name=name: self.r1(turn, name), 0.5, Cadence(128))  # type: ignore[misc]
            losses = lambda turn, name=name: self.critic_losses(turn, name)  # noqa: E731
            phases.append(Phase(name, lazy_adam(critic.parameters(), 0.002, [16]), losses, [r1]))
        return phases

    def fake(self, turn: Turn, phase: str) -> tuple[Tensor, Tensor, Tensor]:
        """Images, label probabilities and poses: by the coin the batch's own or those of other images."""
        own, pose = turn.coin(0.5), turn.batch.pose
        self.coins.append((phase, own))
        pose = pose if own else pose[torch.randperm(len(pose), generator=turn.draw, device=turn.draw.device)]
        out = self.network(torch.cat([turn.batch.labels, pose[..., None, None].expand(-1, -1, 8, 8)], 1))
        return out[:, :3].tanh(), out[:, 3:].softmax(1), pose

    def judge(self, critic: str, image: Tensor, label: Tensor, pose: Tensor) -> Tensor:
        image, label = self.augment.together([image], [label])
        if critic == "image":
            return self.image(image, F.avg_pool2d(image, 2), pose)
        aligned = torch.cat([image.detach() if label.requires_grad else image, label], 1)  # it teaches labels alone
        return self.label(aligned, F.avg_pool2d(aligned, 2))

    def generator_losses(self, turn: Turn) -> dict[str, Tensor]:
        image, label, pose = fake = self.fake(turn, "generator")
        losses = {"generator": generator_loss(self.judge("image", *fake))}
        losses["aligned"] = 0.1 * generator_loss(self.judge("label", *fake))
        fit = (image - turn.batch.images).abs().mean() + F.mse_loss(label, turn.batch.labels)
        return losses | ({"reconstruction": 5 * fit} if pose is turn.batch.pose else {})

    def critic_losses(self, turn: Turn, critic: str) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self.fake(turn, critic)
        return {critic: discriminator_loss(self.judge(critic, *turn.batch), self.judge(critic, *fake))}

    def r1(self, turn: Turn, critic: str) -> Tensor:
        images, labels, pose = turn.batch
        if critic == "image":
            return r1_at(lambda image, raw: self.image(image, raw, pose), images, F.avg_pool2d(images, 2))
        aligned = torch.cat([images, labels], 1)
        return r1_at(self.label, aligned, F.avg_pool2d(aligned, 2))


class Watch(pl.Callback):
    """Keeps losses, and which networks had moved before each optimiser's step."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.moved: list[str] = []
        self.last: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        parts = {"generator": pl_module.network, "image": pl_module.image, "label": pl_module.label}
        now = {name: nn.utils.parameters_to_vector(part.parameters()).clone() for name, part in parts.items()}
        self.moved.append(" ".join(name for name in self.last if not torch.equal(now[name], self.last[name])))
        self.last = now

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append({name: float(value) for name, value in outputs.items()})


def labelled(count: int) -> DataLoader[Any]:
    """Images that show their label in red and its opposite in green."""
    draw = torch.Generator().manual_seed(0)
    labels = (torch.rand(count, 1, 8, 8, generator=draw) < 0.5).float()
    images = torch.cat([2 * labels - 1, 1 - 2 * labels, 0 * labels], 1)
    rows = list(zip(images, torch.cat([labels, 1 - labels], 1), torch.randn(count, 4, generator=draw)))
    return DataLoader(rows, 8, collate_fn=lambda batch: Labelled(*map(torch.stack, zip(*batch))))  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_three_phases_two_discriminators_and_a_pose_coin_train(tmp_path: Path, precision: Any) -> None:
    torch.manual_seed(0)
    model, watch = ToyPix2Pix(), Watch()
    average = nn.utils.parameters_to_vector(model.averaging.average.parameters())
    run = pl.Trainer(
        accelerator="cpu",
        precision=precision,
        logger=False,
        max_epochs=1,
        callbacks=[watch],
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    run.fit(model, labelled(40 * 8))
    losses = watch.losses
    assert [i for i, step in enumerate(losses) if "density" in step] == list(range(0, 40, 4))
    assert [i for i, step in enumerate(losses) if "image_r1" in step and "label_r1" in step] == [0, 16, 32]
    # A first step with all penalties, and one without: each step moves the network of its phase alone.
    assert watch.moved[1:6] == ["generator", "generator", "image", "image", "label"]
    assert watch.moved[6:10] == ["label", "generator", "image", "label"]
    tossed = {phase: [own for name, own in model.coins if name == phase] for phase in ("generator", "image", "label")}
    assert tossed["generator"] == ["reconstruction" in step for step in losses]
    assert len({tuple(coins) for coins in tossed.values()}) == 3  # a coin for each phase, not one for the step
    assert all(8 < sum(coins) < 32 for coins in tossed.values())
    fits = [step["reconstruction"] for step in losses if "reconstruction" in step]
    assert fits[-1] < 0.4 * fits[0]
    assert not torch.equal(nn.utils.parameters_to_vector(model.averaging.average.parameters()), average)
    assert model.images_seen == 320
