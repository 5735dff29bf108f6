"""G3DR: one photograph with depth to a field, learned from single views (f_trigen and f_dec).

Source: Reddy et al., "G3DR: Generative 3D Reconstruction in ImageNet", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.assets.visibility import observation_angles
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.files.weight_files import read_content, state_of
from datamodules.objects.photos.photo import PhotoBatch, PhotoViews
from detectors.compiling import compile_in_place
from detectors.precision import full_precision
from detectors.rank_counts import mean_over_ranks
from lit.generators.base import Generator
from lit.generators.enlarged_views import enlarged, shrunk_photos, shrunk_projection
from lit.generators.single_view_objective import SingleViewObjective
from lit.generators.upsampler import Upsampler
from lit.generators.view_schedule import ViewSchedule
from lit.networks.batch_draws import part_of_batch
from lit.networks.fields.field_values import Field, FieldValues
from lit.networks.fields.symmetric_field import SymmetricField, seen_side
from lit.networks.g3dr.network import SingleViewNetwork
from lit.rendering.bake import bake
from lit.rendering.orbited_projections import orbited, within
from lit.rendering.rendered_views import RenderedViews
from lit.rendering.two_pass import TwoPass
from lit.weights.fitting import fit_state

GREY = 0.5  # behind objects in what the network sees
SETTINGS = "network_settings"  # of a checkpoint: what the shapes of its weights do not tell


class G3DR(Generator):
    """Trains the network on photographs, renders it from anywhere, and bakes photographed objects.

    Args:
        network: photographs to fields.
        objective: the losses; None for the paper's without perceptual networks.
        views: which view a step renders.
        total_images: photographs of the whole training.
        lr: Adam's learning rate.
        betas: Adam's.
        warmup: share of the training in which the learning rate rises.
        final_lr: share of it that is left at the end, after half a cosine.
        eval_samples: samples a ray of what is drawn after training; None for the objective's.
        bake_shape: voxels of predicted assets along length, height, width.
        clip_gradients: largest norm of a step's gradient; None for any.
        pretrained: checkpoint of another training of the same network to begin with; None for a new one.
        compiled: backend of ``torch.compile`` for the network, "inductor" as a rule; None for none.
        symmetric: look up both sides of an object on that which its photograph shows, for objects that are symmetric
            about their vertical middle plane, as cars are; needs known boxes (:class:`SymmetricField`).
        upsampler: checkpoint of conf/experiment/rcan.yaml, which enlarges what is drawn; photographs are then as many
            times larger than the network's pictures (:mod:`lit.generators.enlarged_views`). None for none.

    Raises:
        InputError: a checkpoint of another network, or numbers out of range.
    """

    def __init__(
        self,
        network: SingleViewNetwork,
        objective: SingleViewObjective | None = None,
        views: ViewSchedule | None = None,
        total_images: int = 25_600_000,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup: float = 0.01,
        final_lr: float = 0.0,
        eval_samples: TwoPass | None = None,
        bake_shape: tuple[int, int, int] = (128, 52, 56),
        clip_gradients: float | None = None,
        pretrained: str | None = None,
        compiled: str | None = None,
        symmetric: bool = False,
        upsampler: str | None = None,
    ) -> None:
        super().__init__(total_images, final_lr, warmup)
        if min(bake_shape) < 1 or not (clip_gradients is None or clip_gradients > 0):
            raise InputError(
                f"bake_shape {list(bake_shape)}, clip_gradients {clip_gradients}: expected voxels, and null or above 0"
            )
        self.save_hyperparameters(ignore=["network", "objective", "views", "eval_samples", "compiled"])
        # in a tuple it is no part of the module: its weights stay in their own checkpoint
        self.upsampler: tuple[Upsampler, ...] = () if upsampler is None else (Upsampler.load(upsampler),)
        self.compiled = compiled
        self.network, self.objective, self.views = network, objective or SingleViewObjective(), views or ViewSchedule()
        self.eval_samples = eval_samples or self.objective.samples
        if pretrained is not None:
            content = read_content(Path(pretrained), "weights of a checkpoint of G3DR")
            state = state_of(content, pretrained, "a checkpoint of G3DR")
            given = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
            fit_state(network, given, pretrained, "a checkpoint of this network")
            self._require_settings(content, pretrained)

    def setup(self, stage: str) -> None:
        if self.compiled is not None:
            compile_in_place(self.network, self.compiled, self.trainer.strategy.root_device)
        for network in self.upsampler:
            network.to(self.trainer.strategy.root_device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        rates = self.hparams
        return torch.optim.Adam(self.network.parameters(), rates["lr"], betas=tuple(rates["betas"]))

    def planes(self, batch: PhotoBatch) -> Tensor:
        """Planes (B, 3, C, R, R) of photographs, float32: what follows, rendering above all, is in full precision."""
        images, alpha = batch.images.float() / 255, (batch.alpha * batch.known).unsqueeze(1)
        depth = torch.where(batch.known > 0.5, batch.depth, torch.full_like(batch.depth, float("nan")))
        planes: Tensor = self.network(images * alpha + GREY * (1 - alpha), depth, batch.projection)
        return planes.float()

    def field(self, planes: Tensor, batch: PhotoBatch, raw: bool = True, rows: slice = slice(None)) -> Field:
        """The field of photographs in their cubes; see :meth:`SingleViewNetwork.field`.

        Args:
            planes: of the batch.
            batch: the photographs.
            raw: whether its density is raw.
            rows: photographs to take.

        Raises:
            InputError: a symmetric one of photographs whose boxes are unknown.
        """
        field: Field = self.network.field(planes[rows], raw)
        if not self.hparams["symmetric"]:
            return field
        if not batch.framed:
            raise InputError(
                "model.symmetric: expected photographs of known boxes, which mirrored ones have not; set data.flip to "
                "false, or model.symmetric where the data knows no boxes"
            )
        frame = batch.frame[rows]
        return SymmetricField(field, frame, seen_side(batch.projection[rows], frame))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[SETTINGS] = self.network.settings

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._require_settings(checkpoint, "the checkpoint")

    def _require_settings(self, content: Any, path: str) -> None:
        """Refuse weights that other settings were trained under; older checkpoints state none.

        Raises:
            InputError: names the first that differs.
        """
        stated = content.get(SETTINGS) if isinstance(content, Mapping) else None
        for name, value in self.network.settings.items():
            if isinstance(stated, Mapping) and stated.get(name, value) != value:
                raise InputError(
                    f"{path}: trained with {name} {stated[name]}, this configuration's network has {value}; set "
                    f"model.network.{name} to what the checkpoint was trained with"
                )

    @property
    def photo_size(self) -> int:
        """Pixels a side of the photographs that it takes."""
        scale = self.upsampler[0].network.scale if self.upsampler else 1
        return int(self.network.unet.resolution * scale)

    def own_size(self, batch: PhotoBatch) -> PhotoBatch:
        """Photographs at the network's resolution."""
        return shrunk_photos(batch, self.upsampler[0].network.scale) if self.upsampler else batch

    def training_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        with part_of_batch(self.global_rank, self.trainer.world_size):
            losses = self.losses(self.own_size(batch))
        values = torch.stack(list(losses.values()))
        whole = mean_over_ranks(values.detach().clone())
        self.log_dict({f"train/{name}": value for name, value in zip(losses, whole)})
        self.count_images(len(batch))
        return values.sum()

    def losses(self, batch: PhotoBatch) -> dict[str, Tensor]:
        """Weighted losses of one step by name; the batch's seed decides every draw.

        Raises:
            InputError: mirrored views of photographs whose boxes are unknown.
        """
        draw = torch.Generator(batch.images.device).manual_seed(batch.seed)
        kind = self.views.kind(self.progress, draw)
        yaw, pitch = self.views.turns.draw(len(batch) * self.trainer_ranks, self.progress, draw)
        own = slice(self.global_rank * len(batch), (self.global_rank + 1) * len(batch))
        if kind == "novel":
            projection = orbited(batch.projection, yaw[own], pitch[own])
        elif kind == "mirrored":
            if not batch.framed:
                raise InputError(
                    "views.mirrored: expected photographs of known boxes, which mirrored ones have not; set data.flip "
                    "to false, or model.views.mirrored to 0 where the data knows no boxes"
                )
            projection = mirrored(batch.projection, batch.frame)
        else:
            projection = batch.projection
        planes = self.planes(batch)
        with full_precision(planes.device):
            return self.objective(self.field(planes, batch), batch, kind, projection, self.progress, draw)

    @property
    def trainer_ranks(self) -> int:
        """Processes of the training; 1 without a trainer."""
        return 1 if self._trainer is None else self.trainer.world_size

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: object, **__: object) -> None:
        """Clip as ``clip_gradients`` says; the trainer's own option cannot be used beside averaged gradients."""
        limit = self.hparams["clip_gradients"]
        if limit is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit)

    @torch.no_grad()
    def draw(self, batch: PhotoBatch, projections: Tensor, size: int | None = None) -> RenderedViews:
        """Views of one photograph (B = 1) through projections (V, 3, 4) of its cube."""
        small = self.own_size(batch)
        planes, side = self.planes(small), size or small.images.shape[2]
        for network in self.upsampler:
            projections = shrunk_projection(projections, network.network.scale)
        with full_precision(planes.device):
            field = self.field(planes, small)
            drawn = [self.eval_samples.draw(field, view, side, side) for view in projections]
        views = RenderedViews(torch.stack([view.rgba for view in drawn]), torch.stack([view.depth for view in drawn]))
        for network in self.upsampler:
            views = enlarged(views, network)
        return views

    def turned(self, batch: PhotoBatch, yaw: Sequence[float], pitch: Sequence[float] | None = None) -> RenderedViews:
        """Views of one photograph from V sides, radians from its own."""
        angles = torch.tensor(list(yaw)), torch.tensor(list(pitch or [0.0] * len(yaw)))
        projection = orbited(batch.projection.expand(len(yaw), -1, -1), *(a.to(batch.projection) for a in angles))
        return self.draw(batch, projection)

    def validation_step(self, batch: PhotoBatch | PhotoViews, batch_idx: int) -> RenderedViews:  # type: ignore[override]
        """Held-out views of the photograph's object, or the photograph's own view where there are none."""
        if isinstance(batch, PhotoBatch):
            return self.draw(batch, batch.projection)
        return self.draw(batch.photo, within(batch.projection, batch.photo.frame))

    test_step = validation_step  # type: ignore[assignment]

    @torch.no_grad()
    def predict_step(self, batch: PhotoBatch, batch_idx: int) -> list[VoxelAsset]:
        """The photographed object, its box's axes those of the asset."""
        batch = self.own_size(batch)
        planes = self.planes(batch)
        shape: tuple[int, int, int] = tuple(self.hparams["bake_shape"])
        assets = []
        for row, (id, name) in enumerate(zip(batch.ids, batch.names)):
            field = self.field(planes, batch, False, slice(row, row + 1))
            with full_precision(planes.device):
                grid = bake(in_box(field, batch.frame[row]), shape, device=planes.device)
            dims = batch.dims[row].cpu().numpy()
            seen = photographed_from(batch.projection[row], batch.frame[row], dims)
            if not (self.hparams["symmetric"] or self.views.mirrored):
                seen = seen[:1]
            assets.append(VoxelAsset(id.replace("/", "-"), name, dims, grid, seen))
        return assets


def photographed_from(projection: Tensor, frame: Tensor, dims: np.ndarray) -> np.ndarray:
    """(2, 2) observation angle and elevation, radians, of a photographed box, and of its mirrored side.

    Args:
        projection: (3, 4) cube to pixels.
        frame: (4, 4) box in the cube.
        dims: (3,) length, height, width, metres.
    """
    alpha, elevation = observation_angles((projection.double() @ frame.double()).cpu().numpy(), dims)
    return np.array([[alpha, elevation], [np.pi - alpha, elevation]])


def in_box(field: Field, frame: Tensor) -> Callable[[Tensor], FieldValues]:
    """A field over the canonical box that ``frame`` (4, 4) places in the cube; its density is per unit of the box."""
    turn, shift = frame[:3, :3].float(), frame[:3, 3].float()
    unit = float(turn.det().abs() ** (1 / 3))  # half edges of the cube in one of the box, its three axes' mean

    def values(points: Tensor) -> FieldValues:
        found = field(points @ turn.T.to(points) + shift.to(points))
        return found._replace(density=found.density * unit)

    return values


def mirrored(projection: Tensor, frame: Tensor) -> Tensor:
    """Projections (B, 3, 4) of the cube in which a symmetric object looks as it does through ``projection``, although
    its other side is looked at: the box that ``frame`` (B, 4, 4) places there is mirrored left and right first.
    """
    flip = torch.diag(torch.tensor([1.0, 1, -1, 1], dtype=torch.float64, device=frame.device))
    mirror = frame.double() @ flip @ torch.linalg.inv(frame.double())
    return projection.double() @ mirror
