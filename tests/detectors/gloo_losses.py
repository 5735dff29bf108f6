"""Gradients of detectors' losses on processes that have parts of a batch, for a comparison with one that has it all."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.base import normalise
from datamodules.scene import Batch, Objects, collate
from detectors.centernet3d import CenterNet3D
from detectors.rank_counts import joined_over_ranks, sum_over_ranks
from tests.detectors import scenes

COUNTS = (0, 0, 1, 5)  # objects of the frames: the first of two processes has none


def build(kind: str) -> Any:
    """A small detector whose batch statistics stand still, always with the same weights."""
    torch.manual_seed(0)
    if kind == "centernet":
        shape = {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16]}
        net: Any = CenterNet3D("resnet18", shape, neck_channels=16, head_channels=8, classes=["car", "bus"])
    else:
        from detectors.fcos3d import FCOS3D
        from detectors.mmdet3d_config import Size

        warnings.filterwarnings("ignore", message="the backbone has frozen layers")
        config = {
            "fcos3d": "fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py",
            "pgd": "pgd/pgd_r101-caffe_fpn_head-gn_16xb2-1x_nus-mono3d.py",
            "smoke": "smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py",
        }[kind]
        net = FCOS3D(config, None if kind == "smoke" else Size(18, 8, 16, 1, (8, 16, 32, 64)))
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()
    return net


def batch(kind: str, frames: slice) -> Batch:
    """Some of the frames."""
    view, name = scenes.camera(128, 64, focal=150.0), "Car" if kind == "smoke" else "car"
    made = [scenes.frame(seed, count=max(count, 1), view=view, name=name) for seed, count in enumerate(COUNTS)]
    cleared = [f if count else replace(f, objects=Objects.empty()) for f, count in zip(made, COUNTS)]
    return collate(cleared[frames])


def gradients(net: Any, part: Batch) -> tuple[Tensor, dict[str, float]]:
    """(P,) gradient of the sum of the losses, and these."""
    losses = net.loss(net(normalise(part), part.projections), part)
    torch.stack(list(losses.values())).sum().backward()
    trained = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    unused = [name for name, gradient in trained.items() if gradient is None]
    assert unused == [], "plain ddp waits for all gradients"
    return torch.cat([value.flatten() for value in trained.values() if value is not None]), {
        name: float(value.detach()) for name, value in losses.items()
    }


def work(rank: int, folder: str, kinds: list[str]) -> None:
    """One of two processes: leave what each kind of detector found on its half."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", store, timedelta(seconds=90), rank=rank, world_size=2)
    found = {kind: gradients(build(kind), batch(kind, slice(2 * rank, 2 * rank + 2))) for kind in kinds}
    share = torch.tensor(1.0 + rank, requires_grad=True)
    square = sum_over_ranks(share) ** 2
    square.backward()
    joined = joined_over_ranks(torch.tensor([[rank, 7]]))
    square_of = share.grad, float(square.detach())
    torch.save({**found, "square": square_of, "joined": joined}, Path(folder) / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
