"""Poses of neural meshes by render and compare: the best of some starts, then gradient descent.

Each cell of a picture's features is explained by the rendered mesh or by clutter, whichever fits better, so that an
occluder costs no more than what it hides. Source: NeMo's equation 12 in the form of its released code: the sum over
cells of max(f . C, f . B), starts of 12 azimuths x 4 elevations x 3 rolls, Adam with betas 0.4 and 0.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.neural_mesh import Cuboid, render_cuboid, seen_surface
from lit.proxies.pose_estimator import rotations_of

BETAS = (0.4, 0.6)
FALLS, FALL = 3, 0.2  # the rate falls to a fifth after each third of the steps
AT_A_TIME = 256  # starts rendered together


@dataclass(frozen=True)
class Descent:
    """How poses are searched.

    Attributes:
        azimuths: starts, evenly around.
        elevations, rolls: starts, degrees.
        steps: of gradient descent; 0 keeps the best start.
        lr: of Adam, radians.
    """

    azimuths: int = 12
    elevations: Sequence[float] = (-30.0, 0.0, 30.0, 60.0)
    rolls: Sequence[float] = (-30.0, 0.0, 30.0)
    steps: int = 300
    lr: float = 0.05

    def __post_init__(self) -> None:
        for name, value, low in (("azimuths", self.azimuths, 1), ("steps", self.steps, 0)):
            if value < low:
                raise InputError(f"descent.{name} {value}: expected at least {low}")
        if not self.elevations or not self.rolls or not self.lr > 0:
            stated = f"elevations {list(self.elevations)}, rolls {list(self.rolls)}, lr {self.lr:g}"
            raise InputError(f"descent: {stated}; expected one angle or more each, and a rate above 0")

    def starts(self) -> Tensor:
        """(K, 3) azimuth, elevation and roll in degrees."""
        around = torch.arange(self.azimuths) * (360.0 / self.azimuths)
        return torch.cartesian_prod(around, torch.tensor(self.elevations), torch.tensor(self.rolls))


@dataclass(frozen=True)
class NeuralMeshes:
    """Meshes of all classes with their features.

    Attributes:
        cuboid: the vertices that all share.
        bank: (C, V, D) unit features of each class's.
        half: (C, 3) half the classes' dimensions, longest sides.
        rays: (P, 3) of the map's cells.
    """

    cuboid: Cuboid
    bank: Tensor
    half: Tensor
    rays: Tensor

    def rendered(self, labels: Tensor, angles: Tensor, distance: Tensor) -> Tensor:
        """(B, P, D) of classes (B,) at angles (B, 3) degrees and distances (B,)."""
        rotation = rotations_of(angles).to(self.bank.dtype)
        return render_cuboid(self.cuboid, self.bank[labels], self.half[labels], rotation, distance, self.rays)

    def agreement(self, likeness: Tensor, clutter: Tensor, labels: Tensor, angles: Tensor, distance: Tensor) -> Tensor:
        """(B,) mean over cells of what explains them better, the mesh or clutter.

        Blending the agreement with four vertices is agreeing with their blend, without drawing its features.

        Args:
            likeness: (B, P, V) of each cell with each vertex.
            clutter: (B, P) of each cell with clutter.
            labels: (B,) classes.
            angles: (B, 3) degrees.
            distance: (B,) longest sides.
        """
        rotation = rotations_of(angles).to(self.bank.dtype)
        corners, weights = seen_surface(self.cuboid, self.half[labels], rotation, distance, self.rays)
        return torch.maximum((likeness.gather(2, corners) * weights).sum(-1), clutter).mean(-1)

    def best_starts(
        self, features: Tensor, clutter: Tensor, labels: Tensor, distance: Tensor, descent: Descent
    ) -> Tensor:
        """(B, 3) degrees: of each picture the start that agrees best; pictures of one class and distance share them."""
        starts = descent.starts().to(features)
        found = torch.empty(len(labels), 3, dtype=features.dtype, device=features.device)
        kinds, own = torch.unique(torch.stack([labels.to(distance), distance], 1), dim=0, return_inverse=True)
        for number, (label, away) in enumerate(kinds):
            scores = []
            for some in starts.split(AT_A_TIME):
                every = label.long().expand(len(some)), some, away.expand(len(some))
                maps = self.rendered(*every)
                dots = torch.einsum("kpd,bpd->bkp", maps, features[own == number])
                scores.append(torch.maximum(dots, clutter[own == number][:, None]).mean(-1))
            found[own == number] = starts[torch.cat(scores, 1).argmax(1)]
        return found

    def solve(self, features: Tensor, clutter: Tensor, labels: Tensor, distance: Tensor, descent: Descent) -> Tensor:
        """(B, 3) azimuth in [0, 360), elevation and roll, degrees, of pictures; each as if it were alone.

        Args:
            features: (B, P, D) unit features of the cells.
            clutter: (B, P) their agreement with clutter.
            labels: (B,) known classes.
            distance: (B,) known distances, longest sides.
            descent: how.
        """
        with torch.no_grad():
            angles = torch.deg2rad(self.best_starts(features, clutter, labels, distance, descent))
            likeness = features @ self.bank[labels].transpose(1, 2)
        with torch.enable_grad():
            angles = angles.requires_grad_()
            optimizer = torch.optim.Adam([angles], descent.lr, BETAS)
            for step in range(descent.steps):
                for group in optimizer.param_groups:
                    group["lr"] = descent.lr * FALL ** (step * FALLS // descent.steps)
                found = self.agreement(likeness, clutter, labels, torch.rad2deg(angles), distance)
                loss = -found.sum()  # Adam's steps are each angle's own
                (angles.grad,) = torch.autograd.grad(loss, angles)
                optimizer.step()
        degrees = torch.rad2deg(angles.detach())
        return torch.cat([degrees[:, :1] % 360, degrees[:, 1:]], 1)
