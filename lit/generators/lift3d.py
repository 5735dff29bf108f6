"""Lift3D, lifting stage: one shared conditional tri-plane field and one latent per object, optimised together (GLO).

Source: Li et al., "Lift3D: Synthesize 3D Training Data by Lifting 2D GAN to 3D Generative Radiance Field", CVPR 2023,
Eq. 1-8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.objects.posed_rays import PosedObject, RayBatch
from datamodules.processes import track
from datamodules.randomness import derive
from detectors.compiling import compile_in_place
from detectors.rank_counts import mean_over_ranks
from lit.generators.base import Generator
from lit.generators.ray_objective import RayObjective
from lit.losses.regularisers import total_variation
from lit.networks.batch_draws import part_of_batch
from lit.networks.fields.plane_residuals import PlaneResiduals
from lit.networks.fields.triplane_field import TriplaneField
from lit.networks.latent_gaussian import LatentGaussian
from lit.rendering.bake import bake
from lit.rendering.render import render_image
from lit.rendering.rendered_views import RenderedViews


class Lift3D(Generator):
    """Joint optimisation of a field network and of one W+-shaped latent per object on a posed image set.

    Args:
        network: the field network.
        objective: the losses; None for the defaults.
        objects: rows of the latent table; at least the objects of the data.
        latent_rows: rows of a latent; None for as many as the network uses (Lift3D stores 16 and uses the last 12).
        latent_init: standard deviation of the initial latents.
        lr: Adam's learning rate for the network.
        latent_lr: for the latents.
        joint_images: images of the joint optimisation of network and latents.
        refine_images: images of a second stage that tunes each object's planes with all else frozen; 0 for none.
        refine_lr: Adam's learning rate of that stage.
        smoothness: weight of the total variation of its plane residuals.
        final_lr: share of the learning rates left at the end of a stage.
        eval_samples: samples a ray in validation.
        bake_shape: voxels of predicted assets along length, height, width.
        new_objects: objects that prediction adds, drawn from the Gaussian fitted to the latents.
        seed: seed of these draws.
        compiled: backend of ``torch.compile`` for the planes' synthesis, "inductor" as a rule; None for none.
    """

    dims: Tensor

    def __init__(
        self,
        network: TriplaneField,
        objective: RayObjective | None = None,
        objects: int = 1000,
        latent_rows: int | None = None,
        latent_init: float = 0.05,
        lr: float = 0.002,
        latent_lr: float = 0.002,
        joint_images: int = 800_000,
        refine_images: int = 0,
        refine_lr: float = 0.01,
        smoothness: float = 0.3,
        final_lr: float = 0.05,
        eval_samples: int = 64,
        bake_shape: tuple[int, int, int] = (128, 52, 56),
        new_objects: int = 0,
        seed: int = 0,
        compiled: str | None = None,
    ) -> None:
        super().__init__(joint_images + refine_images, final_lr)
        self.save_hyperparameters(ignore=["network", "objective", "compiled"])  # how fast, not what
        self.compiled = compiled
        self.network, self.objective = network, objective or RayObjective()
        rows, width = latent_rows or network.synthesis.rows, network.synthesis.w_dim
        start = torch.from_numpy(derive(seed, "latents").standard_normal((objects, 1, width))).float()
        self.latents = torch.nn.Parameter(start.mul(latent_init).repeat(1, rows, 1))
        self.register_buffer("dims", torch.tensor([[3.88, 1.53, 1.63]]).repeat(objects, 1))  # KITTI's mean, until seen
        planes = (objects, network.synthesis.channels, network.synthesis.resolution)
        self.residuals = PlaneResiduals(*planes) if refine_images else None

    def setup(self, stage: str) -> None:
        if self.compiled is not None:
            compile_in_place(self.network.synthesis, self.compiled, self.trainer.strategy.root_device)
        posed = getattr(getattr(self.trainer, "datamodule", None), "train_set", None)
        if posed is None:
            return
        if len(posed.ids) > len(self.latents):
            raise InputError(f"model.objects {len(self.latents)} < {len(posed.ids)} objects of the data: raise it")
        if stage == "fit":
            self.dims[: len(posed.ids)] = torch.as_tensor(posed.dims).to(self.dims)

    @property
    def refining(self) -> bool:
        """Whether the next step tunes planes instead of network and latents."""
        return self.images_seen >= self.hparams["joint_images"] and self.residuals is not None

    @property
    def progress(self) -> float:
        """Share of the present stage that is done: learning rates fall once in each."""
        joint, refine = self.hparams["joint_images"], self.hparams["refine_images"]
        return min((self.images_seen - joint) / refine if self.refining else self.images_seen / max(joint, 1), 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        rates = self.hparams
        groups = [
            {"params": list(self.network.parameters()), "lr": rates["lr"]},
            {"params": [self.latents], "lr": rates["latent_lr"]},
        ]
        if self.residuals is not None:
            groups.append({"params": list(self.residuals.parameters()), "lr": rates["refine_lr"]})
        return torch.optim.Adam(groups, betas=(0.9, 0.99))

    def training_step(self, batch: RayBatch, batch_idx: int) -> Tensor:
        with part_of_batch(self.global_rank, self.trainer.world_size):
            losses = self.losses(batch)
        values = torch.stack(list(losses.values()))
        whole = mean_over_ranks(values.detach().clone())
        self.log_dict({f"train/{name}": value for name, value in zip(losses, whole)})
        self.count_images(batch.images)
        return values.sum()

    def losses(self, batch: RayBatch) -> dict[str, Tensor]:
        """Weighted losses of the present stage by name."""
        self.network.requires_grad_(not self.refining)
        if self.residuals is not None:
            self.residuals.requires_grad_(self.refining)  # what stands still is not averaged over processes
        if self.refining and self.residuals is not None:
            planes, style = self.residuals(batch.objects, self.network, self.latents)
            losses = self.objective(self.network.field(planes, style), batch)
            rough = total_variation(self.residuals.values[batch.objects])  # or rarely seen texels speckle
            losses["roughness"] = self.hparams["smoothness"] * rough
        else:
            losses = self.objective(self.network.field(*self.network(self.latents[batch.objects])), batch)
        return losses

    def object_planes(self, index: int) -> tuple[Tensor, Tensor]:
        """Planes (1, 3, C, R, R), refined where they were, and style (1, w_dim) of a training object."""
        planes, style = self.network(self.latents[index : index + 1])
        return planes if self.residuals is None else planes + self.residuals.values[index : index + 1], style

    def validation_step(self, batch: PosedObject, batch_idx: int) -> RenderedViews:  # type: ignore[override]
        """Renders of one object's views with depth, which callbacks score and draw."""
        field, (height, width) = self.network.field(*self.object_planes(batch.index)), batch.rgba.shape[1:3]
        samples = self.hparams["eval_samples"]
        drawn = [render_image(field, view, height, width, samples) for view in batch.projection]
        return RenderedViews(torch.stack([view.rgba for view in drawn]), torch.stack([view.depth for view in drawn]))

    test_step = validation_step  # type: ignore[assignment]

    def asset(self, planes: Tensor, style: Tensor, id: str, name: str, dims: Any) -> VoxelAsset:
        """Bake planes (1, 3, C, R, R) under a style (1, w_dim)."""
        grid = bake(self.network.field(planes, style), tuple(self.hparams["bake_shape"]))
        return VoxelAsset(id, name, np.asarray(dims, np.float64), grid)

    @torch.no_grad()
    def predict_step(self, batch: PosedObject, batch_idx: int) -> list[VoxelAsset]:
        """The object's asset; with the first one also this process's share of the new objects."""
        planes, style = self.object_planes(batch.index)
        assets = [self.asset(planes, style, batch.id, batch.name, batch.dims)]
        if batch_idx == 0 and self.hparams["new_objects"]:
            latents, dims = self.sample_latents(self.hparams["new_objects"], self.hparams["seed"])
            own = range(self.global_rank, len(latents), self.trainer.world_size)
            for number in track(own, "new objects", disable=self.global_rank > 0):
                planes, style = self.network(latents[number : number + 1])
                assets.append(self.asset(planes, style, f"new-{number:06d}", batch.name, dims[number].cpu()))
        return assets

    def sample_latents(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Latents (count, rows, w_dim) and dims (count, 3) in metres of new objects."""
        return LatentGaussian.fit(self.latents, self.dims).sample(count, derive(seed, "new objects"))

    def interpolate(self, first: int, second: int, t: float) -> Tensor:
        """Latent (rows, w_dim) a share ``t`` of the way from object ``first`` to ``second``."""
        return torch.lerp(self.latents[first], self.latents[second], t).detach()
