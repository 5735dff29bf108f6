"""NeMo: from where an object is seen, by a cuboid with contrastive features that is rendered and compared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.recognition.class_images import ClassBatch, ClassImages
from datamodules.samplers import Position
from detectors.backbones import build_backbone
from detectors.rank_counts import joined_over_ranks, mean_over_ranks
from lit.losses.vertex_contrast import vertex_contrast
from lit.networks.neural_mesh import Cuboid, FeatureHead, cell_rays, sampled_features, seen_surface, seen_vertices
from lit.proxies.pose_estimator import rotations_of
from lit.recognition.recogniser import Recogniser
from lit.recognition.render_and_compare import Descent, NeuralMeshes

SAME_VIEW = 0.5  # degrees that fields of view may differ by


class NeuralMeshPose(Recogniser):
    """A feature extractor that all classes share, and a cuboid of each class's mean dimensions with vertex features.

    Trained so that a picture's feature where a vertex stands agrees with that vertex and with nothing else; vertex
    features follow as a moving average. Class and distance of a test picture are known, as in the paper.

    Source: Wang, Kortylewski and Yuille, ICLR 2021, and its released code. Departures: one extractor for all classes;
    a small one; the camera's roll is searched as its other angles are.

    Args:
        classes: see :class:`lit.recognition.recogniser.Recogniser`.
        backbone, weights, options: of the extractor, see :func:`detectors.backbones.build_backbone`.
        stride: pixels a cell of the features.
        width: of the features.
        hidden: channels of the layer before them.
        side: vertices along each of a cuboid's edges, side^3 - (side - 2)^3 in all.
        temperature: of the contrast.
        momentum: of the vertices' moving averages.
        near: share of the picture's side within which vertices are no rivals.
        clutter: features of the background that are remembered.
        noise: features of the background taken from each picture.
        clutter_weight: of each remembered feature beside the rival vertices.
        noise_weight: of how much the background agrees with vertices.
        descent: how poses are searched.
        lr, weight_decay: see :class:`lit.recognition.recogniser.Recogniser`.
        start_from: ``last.ckpt`` of another training of the same network, on pictures to pretrain on.
    """

    vertices: Tensor
    faces: Tensor
    bank: Tensor
    clutter: Tensor
    taken: Tensor
    sides: Tensor
    field_of_view: Tensor

    def __init__(
        self,
        classes: list[str],
        backbone: str = "resnet50",
        weights: str | None = None,
        options: dict[str, Any] | None = None,
        stride: int = 8,
        width: int = 128,
        hidden: int = 256,
        side: int = 13,
        temperature: float = 0.07,
        momentum: float = 0.9,
        near: float = 0.07,
        clutter: int = 2560,
        noise: int = 5,
        clutter_weight: float = 5e-3,
        noise_weight: float = 0.1,
        descent: Descent | None = None,
        lr: float = 1e-4,
        weight_decay: float = 1e-4,
        start_from: str | None = None,
    ) -> None:
        super().__init__(classes, lr, weight_decay)
        for name, value, low in (("side", side, 2), ("width", width, 2), ("clutter", clutter, 1), ("noise", noise, 1)):
            if value < low:
                raise InputError(f"model.{name} {value}: expected at least {low}")
        if not 0 <= momentum < 1 or not temperature > 0 or not clutter_weight > 0:
            stated = f"momentum {momentum:g}, temperature {temperature:g}, clutter_weight {clutter_weight:g}"
            raise InputError(f"model: {stated}; expected a share in [0, 1), and two numbers above 0")
        self.temperature, self.momentum, self.near = temperature, momentum, near
        self.noise, self.clutter_weight, self.noise_weight = noise, clutter_weight, noise_weight
        self.descent = descent or Descent()
        self.backbone, channels = build_backbone(backbone, options or {}, weights, stride)
        self.see_as(self.backbone)
        self.stride = stride
        self.head = FeatureHead(channels, width, hidden)
        cuboid = Cuboid.build(side)
        for name, values in zip(Cuboid._fields, cuboid):
            self.register_buffer(name, values, persistent=False)
        # Directions that torch's generator draws: the run's seed decides them, as it decides the first weights.
        self.register_buffer("bank", F.normalize(torch.randn(len(classes), len(cuboid.vertices), width), dim=-1))
        self.register_buffer("clutter", F.normalize(torch.randn(clutter, width), dim=-1))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self.register_buffer("sides", torch.full((len(classes), 3), 0.5))
        self.register_buffer("field_of_view", torch.tensor(math.pi / 6))
        self.start(start_from)

    def setup(self, stage: str) -> None:
        """Take the classes' dimensions and the camera from the training pictures.

        Raises:
            InputError: their poses are not known, their classes are others, cells do not fill them evenly, or a split
                was taken with another field of view.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, ClassImages):
            return
        camera = data.train_pictures.camera if data.train_pictures is not None else None
        if camera is None:
            raise InputError(
                "data.posed false: render-and-compare learns from pictures whose poses are known; set it true"
            )
        if (size := int(data.hparams["size"])) % self.stride:
            raise InputError(f"data.size {size}: expected a multiple of model.stride {self.stride}; change one of them")
        if stage == "fit":
            dims = torch.tensor([camera.dims[name] for name in self.classes])
            self.sides.copy_(dims / dims.amax(1, keepdim=True) / 2)
            self.field_of_view.fill_(math.radians(camera.field_of_view))
        for name, pictures in data.val_pictures.items():
            seen = None if pictures.camera is None else pictures.camera.field_of_view
            if seen is not None and abs(seen - camera.field_of_view) > SAME_VIEW:
                raise InputError(
                    f"data.splits {name}: a field of view of {seen:g} degrees, expected {camera.field_of_view:g} as "
                    "in training; cut its pictures to that"
                )

    @property
    def cuboid(self) -> Cuboid:
        """The vertices that all classes share."""
        return Cuboid(self.vertices, self.faces)

    def forward(self, images: Tensor) -> Tensor:
        """(B, D, M, M) unit features of images (B, 3, S, S) uint8."""
        features: Tensor = self.head(self.backbone(self.normalised(images)))
        return features.float()

    def training_step(self, batch: ClassBatch, batch_idx: int) -> Tensor:
        maps, half = self(batch.images), self.sides[batch.labels]
        rotation, distance = rotations_of(batch.pose[:, :3]).float(), batch.pose[:, 3]
        places, visible = seen_vertices(self.cuboid, half, rotation, distance, self.field_of_view)
        found, bank = sampled_features(maps, places), self.bank[batch.labels]
        clutter = self.clutter.clone()  # gradients need what the step's end replaces
        contrast = vertex_contrast(
            found, bank, clutter, places, visible, 2 * self.near, self.temperature, self.clutter_weight
        ).mean()
        noise, there = self._background(maps, batch.ids, half, rotation, distance)
        alike = torch.where(there, (noise @ bank.transpose(1, 2)).mean(-1), 0).mean()
        loss = contrast + self.noise_weight * alike
        figures = torch.stack([loss, contrast, alike]).detach()
        self.log_dict(dict(zip(("train/loss", "train/contrast", "train/noise"), mean_over_ranks(figures))))
        every = joined_over_ranks(torch.cat([noise, there[..., None].to(noise)], -1))  # one memory for all processes
        self._remember(found.detach(), visible, batch.labels, every[..., :-1][every[..., -1] > 0])
        return loss

    def _background(
        self, maps: Tensor, ids: tuple[str, ...], half: Tensor, rotation: Tensor, distance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, N, D) features of drawn cells beside the cuboids, and (B, N) whether there were as many."""
        with torch.no_grad():
            rays = cell_rays(maps.shape[-1], self.field_of_view)
            hit = seen_surface(self.cuboid, half, rotation, distance, rays)[1].any(-1)
            data: Any = getattr(self.trainer, "datamodule", None)
            seed = Position.of(data, data.hparams["seed"]).seed
            drawn = [derive(seed, self.current_epoch, name, "noise").random(len(rays)) for name in ids]
            order = torch.from_numpy(np.stack(drawn)).to(maps).masked_fill(hit, -1)
            chosen = order.topk(min(self.noise, len(rays)), 1)
        cells = maps.flatten(2).transpose(1, 2)
        return cells.gather(1, chosen.indices[..., None].expand(-1, -1, cells.shape[-1])), chosen.values >= 0

    @torch.no_grad()
    def _remember(self, found: Tensor, visible: Tensor, labels: Tensor, noise: Tensor) -> None:
        """Move the vertices' features, and replace the oldest of the clutter's."""
        sums = torch.zeros_like(self.bank).index_add_(0, labels, found * visible[..., None])
        counts = torch.zeros_like(self.bank[..., 0]).index_add_(0, labels, visible.float())
        sums, counts = mean_over_ranks(sums), mean_over_ranks(counts)[..., None]
        moved = self.bank * self.momentum + sums / counts.clamp_min(1e-6) * (1 - self.momentum)
        self.bank.copy_(F.normalize(torch.where(counts > 0, moved, self.bank), dim=-1))
        noise = noise[: len(self.clutter)]
        place = (self.taken + torch.arange(len(noise), device=noise.device)) % len(self.clutter)
        self.clutter[place] = noise
        self.taken += len(noise)

    def pose(self, images: Tensor, labels: Tensor, distance: Tensor) -> Tensor:
        """(B, 3) azimuth, elevation and roll, degrees, of images (B, 3, S, S) uint8 of known classes and distances."""
        with torch.no_grad():
            cells = self(images).flatten(2).transpose(1, 2)
        with torch.inference_mode(False):  # gradients of poses are needed in evaluation, too
            cells, labels, distance = cells.clone(), labels.clone(), distance.clone()
            side = math.isqrt(cells.shape[1])
            meshes = NeuralMeshes(self.cuboid, self.bank, self.sides, cell_rays(side, self.field_of_view))
            behind = cells @ F.normalize(self.clutter.mean(0), dim=0)
            return meshes.solve(cells, behind, labels, distance, self.descent)

    def validation_step(self, batch: ClassBatch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Rotations (B, 3, 3) from object to camera, which :class:`lit.recognition.split_scores.SplitScores` takes."""
        return rotations_of(self.pose(batch.images, batch.labels, batch.pose[:, 3]))

    test_step = validation_step
