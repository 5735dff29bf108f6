from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.adversarial.phase import Turn
from lit.generators.pix2nerf import LitPix2Nerf, Pix2NerfWeights, places
from lit.networks.pix2nerf import ConditionalPix2Nerf
from lit.rendering.camera_march import CameraMarch
from tests.lit.generators.test_pix2pix3d import views
from tests.lit.networks.pix2pix3d.small import around, label_maps


def model(kind: str = "edges", **changes: Any) -> LitPix2Nerf:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"resolution": 16, "labels": kind, "classes": 1 if kind == "edges" else 4}
    sizes |= {"render_size": 12, "z_dim": 6, "content": 4, "width": 16, "layers": 2, "encoder_base": 128}
    network = ConditionalPix2Nerf(CameraMarch(0.7, 2.7, 6, 6, True), **sizes, encoder_max=16, box=1.6)
    settings: dict[str, Any] = {"channel_base": 64, "channel_max": 8, "r1_every": 2, "batch_images": 4, "lr": 0.002}
    settings |= {"ema_kimg": 0.02, "total_images": 1000}
    return LitPix2Nerf(network, **(settings | changes))


@pytest.mark.parametrize("kind", ["segmentation", "edges"])
def test_all_players_learn_and_maps_decide_the_first_half_of_a_code(kind: str, tmp_path: Path) -> None:
    one = model(kind)
    seen: list[dict[str, float]] = []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
            seen.append({name: float(value) for name, value in outputs.items()})

    parts = {"field": one.network.field, "encoder": one.network.encoder, "judge": one.judge, "ema": one.ema}
    before = {name: vector(part) for name, part in parts.items()}
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "max_epochs": 1}
    settings |= {"enable_checkpointing": False, "enable_model_summary": False, "default_root_dir": tmp_path}
    pl.Trainer(callbacks=[Keep()], **settings).fit(one, views(kind))
    assert all(not torch.equal(vector(part), before[name]) for name, part in parts.items())
    assert [step for step, losses in enumerate(seen) if "r1" in losses] == [0, 2]
    assert {"pictures" in losses for losses in seen} == {True, False}  # the coin falls both ways
    assert all({"judge", "judge_place", "content", "adversarial", "place"} <= set(losses) for losses in seen)
    batch = next(iter(views(kind)))
    z = torch.randn(4, one.z_dim)
    image, maps = one.synthesise(batch.labels, z, batch.cameras)
    assert image.shape == (4, 3, 16, 16)
    assert maps.shape == (4, 1 if kind == "edges" else 4, 16, 16)
    moved = z + torch.tensor([1.0, 1, 1, 1, 0, 0])
    assert torch.equal(one.synthesise(batch.labels, moved, batch.cameras)[0], image)
    assert not torch.equal(one.synthesise(batch.labels, -z, batch.cameras)[0], image)
    assert not torch.equal(one.synthesise(batch.labels.flip(0), z, batch.cameras)[0], image)


def vector(part: torch.nn.Module) -> Tensor:
    return torch.nn.utils.parameters_to_vector(part.parameters()).clone()


def test_reconstruction_learns_the_map_and_the_picture() -> None:
    one = model(lr=0.002)
    batch = next(iter(views("edges")))
    optimizer = torch.optim.Adam(one.network.parameters(), 0.005)

    def loss() -> Tensor:
        made = one.network(one.network.codes(torch.zeros(4, 6), batch.labels), batch.cameras)
        return one.picture_loss(made, batch.images) + one.label_loss(made, batch.labels)

    first = float(loss().detach())
    for _ in range(30):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    assert float(loss().detach()) < 0.8 * first


def test_empty_rays_are_paper_or_background() -> None:
    for kind in ("edges", "segmentation"):
        network = model(kind).network
        assert network.field.solid.bias is not None
        network.field.solid.bias.data[0] = -60.0
        drawn = network(torch.zeros(2, 6), around(2))
        assert bool((drawn.image > 0.99).all())
        assert bool((drawn.labels > 0.99).all() if kind == "edges" else (drawn.labels.argmax(1) == 0).all())


def test_the_judge_guesses_where_the_camera_stands() -> None:
    found = places(around(4))
    assert torch.allclose(found[:2], torch.tensor([[0.0, 0, 1], [1, 0, 0]]), atol=1e-6)
    one = model(weights=Pix2NerfWeights(place=0.0))
    turn = Turn(next(iter(views("edges"))), 0, 4, torch.Generator().manual_seed(0))
    losses = one.judge_losses(turn)
    assert float(losses["judge_place"]) == 0.0
    assert one.judge(turn.batch.images).shape == (4, 4)
    with pytest.raises(InputError, match="set the network's resolution"):
        one.network.codes(torch.zeros(1, 6), label_maps("edges", 1)[..., :8])
