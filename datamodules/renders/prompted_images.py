"""Renders as training pictures of a diffusion model: on a backdrop, with their edges and a text prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.errors import InputError
from datamodules.objects.object_images import backdrop
from datamodules.objects.studio_set import StudioSet
from datamodules.processes import track
from datamodules.randomness import derive
from datamodules.renders.model_meshes import studio_models
from datamodules.renders.render_set import RENDER_INDEX, Render, RenderedModel, RenderSet
from datamodules.renders.render_writer import RenderSettings, write_renders
from datamodules.renders.text_prompts import Describing, template_prompt
from datamodules.renders.visual_prompts import canny_edges, on_white
from datamodules.samplers import Position, endless_order

BackdropKind = Literal["white", "grey", "colour"]


class PromptedBatch(NamedTuple):
    """Pictures with what a diffusion model shall draw them from.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        controls: (B, 3, S, S) uint8, edges of the render on white, three times.
        prompts: B texts.
        ids: B names of renders.
    """

    images: Tensor
    controls: Tensor
    prompts: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class PromptedPicture:
    """One picture to learn from.

    Attributes:
        rgba: (S, S, 4) uint8 straight colour and opacity; backdrops are drawn behind what is not opaque.
        edges: (S, S) uint8.
        key: its name.
        model: says what it shows.
    """

    rgba: np.ndarray
    edges: np.ndarray
    key: str
    model: Describing


class PromptedBatches(Dataset[PromptedBatch]):
    """Batches keyed by (epoch, step).

    Args:
        pictures: to learn from.
        batch: pictures a batch of one process.
        shuffle: draw each epoch's order and backdrops; otherwise the pictures' own order, and one backdrop each.
        position: of the run; each of its processes takes its part of every batch.
        kind: of backdrop.
    """

    def __init__(
        self, pictures: list[PromptedPicture], batch: int, shuffle: bool, position: Position, kind: BackdropKind
    ) -> None:
        self.pictures, self.batch, self.shuffle, self.position, self.kind = pictures, batch, shuffle, position, kind

    def __getitem__(self, key: tuple[int, int]) -> PromptedBatch:
        epoch, step = key
        here = self.position
        place = here.places(step, self.batch)
        if self.shuffle:
            place = endless_order(len(self.pictures), place, here.seed, epoch, "pictures")
        images, controls, prompts, ids = [], [], [], []
        for index in place % len(self.pictures):
            picture = self.pictures[int(index)]
            rng = derive(here.seed, epoch if self.shuffle else 0, picture.key, "backdrop")
            alpha = picture.rgba[..., 3:].astype(np.float32) / 255
            behind = backdrop(len(picture.rgba), self.kind, rng)
            images.append(np.rint(picture.rgba[..., :3] * alpha + behind * (1 - alpha)).astype(np.uint8))
            controls.append(np.repeat(picture.edges[..., None], 3, -1))
            prompts.append(template_prompt(picture.model, rng))
            ids.append(picture.key)
        shown, drawn = (torch.from_numpy(np.stack(part).transpose(0, 3, 1, 2).copy()) for part in (images, controls))
        return PromptedBatch(shown, drawn, tuple(prompts), tuple(ids))


class PromptedPictures(StudioSet):
    """Pictures to learn from and held-out ones, which ``setup`` of a subclass finds, as batches.

    Attributes:
        kind: of the backdrop where pictures are not opaque.
    """

    kind: BackdropKind = "colour"

    def __init__(self) -> None:
        super().__init__()
        self.train_pictures: list[PromptedPicture] = []
        self.val_pictures: list[PromptedPicture] = []

    def train_dataloader(self) -> DataLoader[PromptedBatch]:
        h: Any = self.hparams
        return self.step_loader(
            PromptedBatches(self.train_pictures, h.batch_size, True, Position.of(self, h.seed), self.kind)
        )

    def val_dataloader(self) -> DataLoader[PromptedBatch]:
        """The first held-out pictures, as many on each process."""
        h: Any = self.hparams
        batches = PromptedBatches(self.val_pictures, h.batch_size, False, Position.of(self, h.seed), self.kind)
        return DataLoader(batches, batch_size=None, sampler=[(0, step) for step in range(h.val_batches)])


class PromptedImages(PromptedPictures):
    """Pictures of any folder of annotated renders; every so many-th model of a class is held out.

    Args:
        folder: of ``prepare dst-renders``.
        batch_size: pictures a batch and process.
        val_every: every so many-th model is held out for validation.
        val_batches: batches of validation.
        steps_per_epoch: batches an epoch.
        seed: seed of all draws.
        num_workers: loader processes.
        create: render the studio's objects when the folder holds no renders.
        create_classes: of these.
        create_models: models of each.
        create_views: views of each model.
        create_size: pixels a side.
        create_distance: of the camera, in the model's longest sides.
        backdrop: behind the object: "white"; the "grey" ramp of the studio's object images; or a plain "colour" drawn
            each time, which a small autoencoder takes many times longer to learn (13 dB after the steps that bring
            21 dB on white).
    """

    def __init__(
        self,
        folder: str = "data/dst_studio",
        batch_size: int = 16,
        val_every: int = 5,
        val_batches: int = 2,
        steps_per_epoch: int = 200,
        seed: int = 0,
        num_workers: int = 0,
        create: bool = True,
        create_classes: tuple[str, ...] = ("car", "van", "bicycle", "pedestrian"),
        create_models: int = 20,
        create_views: int = 16,
        create_size: int = 64,
        create_distance: float = 1.5,
        backdrop: BackdropKind = "white",
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.kind = backdrop
        for name, value, low in (
            ("batch_size", batch_size, 1),
            ("val_every", val_every, 2),
            ("val_batches", val_batches, 1),
        ):
            if value < low:
                raise InputError(f"{name} {value}: expected at least {low}")

    def prepare_data(self) -> None:
        """Render the studio's objects where there are no renders."""
        h: Any = self.hparams
        if h.create and not (Path(h.folder) / RENDER_INDEX).is_file():
            settings = RenderSettings(
                h.create_size, h.create_views, mode=3, distance=h.create_distance, supersample=3, seed=h.seed
            )
            models = studio_models(h.create_classes, h.create_models)
            write_renders(h.folder, models, settings, progress=True, wait=True)

    def setup(self, stage: str | None = None) -> None:
        """Read the renders and split them by model.

        Raises:
            InputError: pictures of several sizes, or too few models for a split.
        """
        if self.train_pictures:
            return
        h: Any = self.hparams
        renders = RenderSet.load(h.folder)
        seen: dict[str, int] = {}
        for model in track(renders.index.models, "renders", disable=len(renders) < 1000):
            number = seen[model.synset] = seen.get(model.synset, -1) + 1
            held = number % h.val_every == h.val_every - 1
            (self.val_pictures if held else self.train_pictures).extend(_read(r, model) for r in renders.of(model))
        if not self.val_pictures or not self.train_pictures:
            raise InputError(f"{h.folder}: val_every {h.val_every} holds none of its models out; lower it")
        sizes = {picture.rgba.shape[0] for picture in (*self.train_pictures, *self.val_pictures)}
        if len(sizes) > 1 or next(iter(sizes)) % 8:
            raise InputError(f"{h.folder}: pictures of {sorted(sizes)} pixels, expected one size, a multiple of 8")


def _read(render: Render, model: RenderedModel) -> PromptedPicture:
    rgba = render.rgba
    return PromptedPicture(rgba, canny_edges(on_white(rgba)), render.key, model)
