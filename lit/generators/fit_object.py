"""Fitting an object that was not in the training set, with the network frozen."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from datamodules.objects.posed_rays import RayBatch
from lit.generators.lift3d import Lift3D


def fit_object(
    model: Lift3D,
    batches: Iterable[RayBatch],
    steps: int = 150,
    lr: float = 0.02,
    plane_lr: float = 0.01,
    smoothness: float = 0.3,
) -> tuple[Tensor, Tensor]:
    """Find the latent of a new object, then what its planes lack (as the authors store latents after 1500 such steps).

    Starts at the mean of the learned latents. The first half of the steps moves the latent, the second half the planes.

    Args:
        model: a trained Lift3D; left unchanged.
        batches: rays of the object (one object a batch).
        steps: how many of them are used.
        lr: Adam's learning rate of the latent.
        plane_lr: Adam's learning rate of the planes.
        smoothness: weight of the total variation of what is added to the planes.

    Returns:
        Planes (1, 3, C, R, R) and style (1, w_dim), ready for :meth:`Lift3D.asset`.
    """
    network = model.network
    frozen = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(False)
    latent = model.latents.detach().mean(0, keepdim=True).clone().requires_grad_()
    optimizer, half = torch.optim.Adam([latent], lr, betas=(0.9, 0.99)), steps // 2
    added: Tensor | None = None
    for step, batch in zip(range(steps), batches):
        if step == half:
            latent.requires_grad_(False)
            added = torch.zeros_like(network(latent)[0]).requires_grad_()
            optimizer, lr = torch.optim.Adam([added], plane_lr, betas=(0.9, 0.99)), plane_lr
        optimizer.param_groups[0]["lr"] = lr * (0.05 + 0.95 * math.cos(math.pi / 2 * (step % half) / half))
        planes, style = network(latent)
        loss = torch.zeros(())
        if added is not None:
            planes = planes + added
            loss = smoothness * (added.diff(dim=-1).abs().mean() + added.diff(dim=-2).abs().mean())
        loss = loss + torch.stack(list(model.objective(network.field(planes, style), batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        planes, style = network(latent)
    for parameter in frozen:
        parameter.requires_grad_(True)
    return planes if added is None else planes + added.detach(), style
