"""Pose codes of a StyleGAN2 from rendered views of known pose, which are inverted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.objects.posed_images import PosedImageSet
from lit.networks.image_range import to_pixels
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.pictures.pictures import png, stacked
from lit.posing.codes import PoseCodes, keep, pictures
from lit.posing.inversion import InversionSettings, image_distance, invert
from lit.posing.views import composited

SHOWN = 8  # views of a template in its picture


def read_templates(folder: Path, numbers: Sequence[int], size: int) -> PosedImageSet:
    """The objects whose views give the poses.

    Args:
        folder: of a posed image set.
        numbers: which of its objects, in which order.
        size: pixels a side of the generator's images.

    Raises:
        InputError: there is no such object, one is named twice, or the images have another size.
    """
    posed = PosedImageSet.load(folder)
    for number in numbers:
        if not 0 <= number < len(posed):
            raise InputError(f"--template-object {number}: {folder} has {len(posed)} objects")
    if len(set(numbers)) < len(numbers):
        raise InputError(f"--template-object {' '.join(map(str, numbers))}: expected every number once")
    if posed.image_size != size:
        raise InputError(
            f"{folder}: images of {posed.image_size} pixels, the generator makes {size}; write templates "
            f"with `python -m lit prepare posed --objects 1 --size {size}`"
        )
    return posed.subset(numbers)


@dataclass(frozen=True)
class TemplateInversion:
    """Inverts the views of templates; what is found is kept in a folder and not searched again.

    Attributes:
        root: the folder; a template's codes do not depend on the templates beside it.
        settings: of the inversion.
        vgg16: see :func:`lit.posing.inversion.image_distance`.
        batch: views inverted side by side.
        backdrop: (S, S, 3) or (3,) in [0, 255], behind the views.
    """

    root: Path
    settings: InversionSettings
    vgg16: str | None
    batch: int
    backdrop: np.ndarray

    def images(self, templates: PosedImageSet, row: int) -> Tensor:
        """(V, 3, S, S) in [-1, 1] the views of a template."""
        return composited(templates.rgba[row], self.backdrop)

    def codes(self, generator: StyleGAN2Generator, templates: PosedImageSet) -> list[PoseCodes]:
        """The codes of every template's views."""
        return [
            PoseCodes(
                templates.ids[row],
                self._latents(generator, self.images(templates, row), f"templates-{row}" if row else "templates"),
                templates.projection[row],
                templates.dims[row],
                templates.rgba[row, ..., 3] > 127,
            )
            for row in range(len(templates))
        ]

    def _latents(self, generator: StyleGAN2Generator, images: Tensor, name: str) -> Tensor:
        """(V, rows, w_dim) latents of one template's views."""
        device = next(generator.parameters()).device
        path = self.root / f"{name}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                return torch.from_numpy(stored["latents"]).to(device)
        found = invert(generator, images, self.settings, image_distance(self.vgg16), self.batch, progress=True)
        keep(path, latents=found.latents.cpu().numpy(), distances=found.distances.cpu().numpy())
        plain = pictures(generator, found.latents[:SHOWN])
        strips = [
            strip[:SHOWN].permute(0, 2, 3, 1).cpu().numpy()
            for strip in (to_pixels(images), to_pixels(found.images), plain)
        ]
        tiles = [tile for strip in strips for tile in strip]
        write_atomically(self.root / f"{name}.png", png(stacked(tiles, SHOWN, 2)))
        error = (found.images.cpu() - images).square().mean().div(4).clamp_min(1e-12)
        print(f"inverted {len(images)} templates: PSNR {float(-10 * error.log10()):.1f} dB")
        return found.latents
