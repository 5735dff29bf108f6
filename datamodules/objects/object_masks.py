"""Masks of single objects: posed views with their alpha, on drawn backdrops."""

from __future__ import annotations

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.objects.mask_images import MaskImages
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio_set import render_when_missing

THRESHOLD = 128  # of alpha: half covered pixels are the object's


def draw_backdrop(size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size, 3) float32 in [0, 1]: plain, shaded from top to bottom, or a texture with blocks.

    So varied that a segmenter trained on it has to know the object rather than one backdrop.
    """
    kind = rng.integers(3)
    tone = rng.uniform(0, 1) + rng.uniform(-0.15, 0.15, 3)
    image = np.broadcast_to(np.asarray(tone, np.float32), (size, size, 3)).copy()
    if kind >= 1:
        other = rng.uniform(0, 1) + rng.uniform(-0.15, 0.15, 3)
        steepness, middle = rng.uniform(1, 40), rng.uniform(0.2, 0.9)
        ramp = 1 / (1 + np.exp(-steepness * (np.linspace(0, 1, size) - middle)))
        image += (ramp[:, None, None] * (other - tone)).astype(np.float32)
    if kind == 2:
        for _ in range(rng.integers(1, 6)):
            left, top = rng.integers(0, size, 2)
            width, height = rng.integers(2, max(size // 2, 3), 2)
            image[top : top + height, left : left + width] = rng.uniform(0, 1, 3)
        cells = int(rng.choice([4, 8, 16, 32]))
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32) * np.float32(rng.uniform(0, 0.3))
        image += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(image, 0, 1)


class StudioMasks:
    """Views of a posed image set, each on a backdrop of its own."""

    def __init__(self, posed: PosedImageSet) -> None:
        self.rgba, self.views = posed.rgba, posed.views

    def __len__(self) -> int:
        return len(self.rgba) * self.views

    def read(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Image (S, S, 3) uint8 and object mask (S, S) uint8."""
        rgba = self.rgba[divmod(index, self.views)]
        alpha = rgba[..., 3:].astype(np.float32) / 255
        image = draw_backdrop(len(rgba), rng)
        if rng.random() < 0.5:  # a soft shadow below, which is not the object's
            fallen = np.roll(
                alpha[..., 0], (int(rng.integers(0, len(rgba) // 8 + 1)), int(rng.integers(-3, 4))), (0, 1)
            )
            image *= 1 - rng.uniform(0.2, 0.8) * cv2.GaussianBlur(fallen, (0, 0), len(rgba) / 32)[..., None]
        image = rgba[..., :3] * alpha + 255 * image * (1 - alpha)
        return np.rint(image).astype(np.uint8), (rgba[..., 3] >= THRESHOLD).astype(np.uint8)


class ObjectMasks(MaskImages):
    """Posed views of objects on drawn backdrops; some objects are held out whole."""

    classes = ("background", "object")

    def __init__(
        self,
        folder: str = "data/posed",
        held_out: int = 8,
        batch_size: int = 16,
        workers: int = 0,
        seed: int | None = None,
        create: bool = True,
        create_objects: int = 40,
        create_views: int = 64,
        create_size: int = 64,
    ) -> None:
        """Configure.

        Args:
            folder: a posed image set.
            held_out: its last so many objects are for validation.
            batch_size: images a device and step.
            workers: loader processes.
            seed: of order, backdrops and variation; by default the one given to ``seed_everything``, else 0.
            create: render the embedded studio set when the folder does not exist.
            create_objects: objects of that set.
            create_views: views of each.
            create_size: pixels a side.
        """
        super().__init__(batch_size, workers, seed)
        self.folder, self.held_out, self.create = folder, held_out, create
        self.created = (create_objects, create_views, create_size)

    def prepare_data(self) -> None:
        """Render the embedded set when there is none."""
        if self.create:
            render_when_missing(self.folder, *self.created)

    def setup(self, stage: str | None = None) -> None:
        """Load and split by object.

        Raises:
            InputError: there are not enough objects to hold some out.
        """
        posed = PosedImageSet.load(self.folder)
        if not 0 < self.held_out < len(posed):
            raise InputError(f"held_out {self.held_out} of {len(posed)} objects of {self.folder}: leave one for each")
        kept = len(posed) - self.held_out
        self.train_source = StudioMasks(posed.subset(range(kept)))
        self.val_source = StudioMasks(posed.subset(range(kept, len(posed))))
