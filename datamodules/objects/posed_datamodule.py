"""Lightning data of generators: posed images of many objects, split by view into training and held-out ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.errors import InputError
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.posed_rays import PosedObject, RayBatch, draw_rays
from datamodules.objects.studio_set import StudioSet
from datamodules.randomness import derive
from datamodules.samplers import ExactShards, Position, ShardSampler, endless_order

if TYPE_CHECKING:
    from collections.abc import Sequence


class RayDataset(Dataset[RayBatch]):
    """Batches of rays keyed by (epoch, step): each object comes up equally often, each batch has its own generator.

    Args:
        posed: the training views.
        objects: objects a batch of one process; fewer where the set has fewer than all processes ask for.
        views: views an object that share its rays.
        rays: rays an object.
        patch: side of one patch an object; 0 for none.
        shares: where rays are drawn (:func:`datamodules.objects.posed_rays.draw_pixels`).
        position: of the run; each of its processes draws the batch of all and takes its part, one after the other.
    """

    def __init__(
        self,
        posed: PosedImageSet,
        objects: int,
        views: int,
        rays: int,
        patch: int,
        shares: Sequence[float] | None,
        labels: bool,
        position: Position,
    ) -> None:
        self.posed, self.views, self.position = posed, min(views, posed.rgba.shape[1]), position
        self.objects = max(min(objects, len(posed.ids) // position.world), 1)
        self.rays, self.patch, self.shares, self.labels = rays, patch, shares, labels

    def __getitem__(self, key: tuple[int, int]) -> RayBatch:
        epoch, step = key
        count, total, here = len(self.posed.ids), self.posed.rgba.shape[1], self.position
        rng = derive(here.seed, epoch, step, "rays")
        whole, first = self.objects * here.world, self.objects * here.rank
        objects = endless_order(count, step * whole + np.arange(whole), here.seed, epoch, "objects")
        views = np.stack([rng.choice(total, self.views, replace=False) for _ in objects])
        parts = self.posed.parts if self.labels else None
        posed, part = self.posed, slice(first, first + self.objects)
        return draw_rays(
            posed.rgba, posed.projection, parts, objects, views, self.rays, self.patch, self.shares, rng, part
        )


class ObjectDataset(Dataset[PosedObject]):
    """The objects of a posed image set with all its views."""

    def __init__(self, posed: PosedImageSet) -> None:
        self.posed = posed

    def __len__(self) -> int:
        return len(self.posed.ids)

    def __getitem__(self, index: int) -> PosedObject:
        posed = self.posed
        return PosedObject(
            index,
            str(posed.ids[index]),
            posed.name,
            np.asarray(posed.dims[index], np.float64),
            torch.from_numpy(np.ascontiguousarray(posed.rgba[index])),
            torch.from_numpy(np.ascontiguousarray(posed.projection[index])),
        )


class PosedDataModule(StudioSet):
    """Posed images of one class of objects from any source: the studio, a GAN, photographs, CAD renders.

    Args:
        folder: a posed image set (``posed.json`` and one ``.npz`` an object).
        objects: use only the first so many objects; None for all.
        held_out_every: every so many-th view is held out from training and used for validation.
        val_views: held-out views an object that validation renders; None for all.
        batch_objects: objects a training batch and process.
        views_per_object: views that share an object's rays; batch_objects * views_per_object images a batch.
        rays: rays an object.
        patch: side of one square patch an object, for perceptual losses; 0 for none.
        ray_shares: shares of rays inside the mask, on its rim, and in the projected cube; null for uniform pixels.
        part_labels: also deliver part labels.
        steps_per_epoch: batches an epoch.
        seed: seed of all draws.
        num_workers: loader processes.
        create: render the embedded studio set when the folder does not exist.
        create_objects: objects of that set.
        create_views: views of each.
        create_size: pixels a side.
    """

    def __init__(
        self,
        folder: str = "data/posed",
        objects: int | None = None,
        held_out_every: int = 10,
        val_views: int | None = 2,
        batch_objects: int = 4,
        views_per_object: int = 8,
        rays: int = 1024,
        patch: int = 0,
        ray_shares: list[float] | None = None,
        part_labels: bool = False,
        steps_per_epoch: int = 100,
        seed: int = 0,
        num_workers: int = 0,
        create: bool = True,
        create_objects: int = 40,
        create_views: int = 60,
        create_size: int = 64,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if ray_shares is not None and (len(ray_shares) != 3 or min(ray_shares) < 0 or abs(sum(ray_shares) - 1) > 1e-6):
            raise InputError(f"ray_shares {ray_shares}: expected three shares >= 0 with sum 1, e.g. [0.55, 0.25, 0.2]")
        if rays % views_per_object:
            raise InputError(
                f"rays {rays} is not a multiple of views_per_object {views_per_object}: change one of them"
            )
        self.train_set: PosedImageSet | None = None
        self.held_out: PosedImageSet | None = None

    def setup(self, stage: str | None = None) -> None:
        """Load and split by view."""
        if self.train_set is not None:
            return
        h: Any = self.hparams
        posed = PosedImageSet.load(h.folder)
        objects, views = posed.rgba.shape[:2]
        if h.objects is not None and h.objects > objects:
            raise InputError(f"{h.folder} holds {objects} objects, data.objects asks for {h.objects}: lower it")
        if views < h.held_out_every:
            raise InputError(
                f"{h.folder} has {views} views an object: held_out_every {h.held_out_every} leaves none out"
            )
        rows, held = list(range(h.objects or objects)), np.arange(views) % h.held_out_every == h.held_out_every // 2
        self.train_set = posed.subset(rows, np.flatnonzero(~held).tolist())
        out = np.flatnonzero(held)
        if h.val_views is not None:
            out = out[np.unique(np.linspace(0, len(out) - 1, min(h.val_views, len(out))).round().astype(int))]
        self.held_out = posed.subset(rows, out.tolist())

    def train_dataloader(self) -> DataLoader[RayBatch]:
        assert self.train_set is not None
        h: Any = self.hparams
        asked = (h.batch_objects, h.views_per_object, h.rays, h.patch, h.ray_shares, h.part_labels)
        return self.step_loader(RayDataset(self.train_set, *asked, Position.of(self, h.seed)))

    def val_dataloader(self) -> DataLoader[PosedObject]:
        """Held-out views of each object; so that all processes have as many, some objects come up twice."""
        return self._objects(ShardSampler)

    def predict_dataloader(self) -> DataLoader[PosedObject]:
        """Held-out views, each object on one process: what is predicted is written.

        Raises:
            InputError: more processes than objects.
        """
        return self._objects(ExactShards)

    def _objects(self, shards: type[ShardSampler]) -> DataLoader[PosedObject]:
        assert self.held_out is not None
        h: Any = self.hparams
        sampler = shards(len(self.held_out.ids), Position.of(self, h.seed))
        return DataLoader(ObjectDataset(self.held_out), batch_size=None, sampler=sampler)
