"""Where ``prepare gan-views`` takes its poses from: inverted templates, or latent directions and a pose regressor."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.objects.studio import view_projection
from datamodules.shapes.cars import BODIES, BODY_DIMS, BODY_SHARES
from lit.networks.image_range import to_pixels
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.pictures.pictures import png, stacked
from lit.posing.codes import PoseCodes, keep, pictures, posed
from lit.posing.direction_poses import DirectionSearch, choose, label, labelling_cars, loop_codes, trusted
from lit.posing.inversion import InversionSettings
from lit.posing.silhouette_hull import mean_colours
from lit.posing.template_poses import TemplateInversion, read_templates
from lit.posing.views import Probability
from lit.proxies.pose_regressor import PoseRegressor
from lit.weights.files import digest

SHOWN = 16  # poses in the picture of direction codes


class TemplateSource:
    """Objects of a posed image set, whose views are inverted.

    Args:
        options: of the command.
        generator: whose codes are wanted.

    Raises:
        InputError: no templates, or they do not fit the generator.
    """

    def __init__(self, options: argparse.Namespace, generator: StyleGAN2Generator) -> None:
        if options.templates is None:
            raise InputError("--templates: not given; name a posed image set, or take --poses sefa or ganspace")
        self.options = options
        self.templates = read_templates(options.templates, options.template_object, generator.synthesis.resolution)
        self.kind, self.poses, self.name = self.templates.name, self.templates.views, ", ".join(self.templates.ids)

    def settings(self) -> dict[str, Any]:
        """Whatever changes a pose."""
        seen = hashlib.sha256(
            np.asarray(self.templates.rgba).tobytes() + self.templates.projection.tobytes()
        ).hexdigest()[:12]
        options = self.options
        chosen = {"steps": options.steps, "prior_weight": options.prior_weight, "min_overlap": options.min_overlap}
        return {"template": seen, **chosen, "lpips": options.vgg16 is not None}

    def codes(self, generator: StyleGAN2Generator, probability: Probability, backdrop: np.ndarray) -> list[PoseCodes]:
        """One set of codes a template.

        Raises:
            InputError: the segmenter masks nothing of them.
        """
        options, device = self.options, next(generator.parameters()).device
        settings = InversionSettings(steps=options.steps, prior_weight=options.prior_weight, seed=options.seed)
        inversion = TemplateInversion(options.root, settings, options.vgg16, options.batch, backdrop)
        found = inversion.codes(generator, self.templates)
        shown = [to_pixels(inversion.images(self.templates, row)).to(device) for row in range(len(found))]
        mask = np.concatenate([probability(images) > 0.5 for images in shown])
        _require_masks(mask, "template views", options.segmenter)
        truth = self.templates.rgba[..., 3].reshape(mask.shape) > 127
        print(f"segmenter on the templates: mask IoU {(mask & truth).sum() / (mask | truth).sum():.3f}")
        return found


class DirectionSource:
    """Loops in the span of latent directions (:mod:`lit.posing.direction_poses`), kept in ``poses.npz``.

    The camera of a pose orbits a car of mean dims as the studio's does.

    Args:
        options: of the command.
        generator: whose codes are wanted.

    Raises:
        InputError: no regressor, or an option that only templates have a meaning for.
    """

    def __init__(self, options: argparse.Namespace, generator: StyleGAN2Generator) -> None:
        if options.regressor is None:
            raise InputError(
                f"--poses {options.poses}: needs --regressor, a checkpoint of conf/experiment/pose_regressor.yaml"
            )
        if options.min_overlap > 0:
            raise InputError(f"--min-overlap {options.min_overlap}: expected 0, there is no template to compare with")
        if options.templates is not None:
            raise InputError(f"--templates {options.templates}: not used by --poses {options.poses}; leave it out")
        self.options, self.kind, self.poses, self.name = options, "Car", options.poses_count, options.poses
        self.size = generator.synthesis.resolution
        self.dims = np.array(options.dims) if options.dims else mean_car()
        self.search = DirectionSearch(
            options.poses, options.directions, options.loops, options.loop_radius, options.label_cars,
            options.poses_count, options.max_spread, options.max_gap, options.seed,
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """Whatever changes a pose."""
        names = (
            "poses", "poses_count", "directions", "loops", "loop_radius", "label_cars", "max_spread", "max_gap",
            "distance", "field_of_view",
        )  # fmt: skip
        chosen = {name: getattr(self.options, name) for name in names}
        return {"regressor": digest(self.options.regressor), **chosen, "dims": self.dims.tolist()}

    def codes(self, generator: StyleGAN2Generator, probability: Probability, backdrop: np.ndarray) -> list[PoseCodes]:
        """One set of codes.

        Raises:
            InputError: too much of the circle stays without a code, or the segmenter masks nothing.
        """
        path = self.options.root / "poses.npz"
        if not path.is_file():
            self._search(generator, probability, path)
        with np.load(path, allow_pickle=False) as stored:
            latents, angles = torch.from_numpy(stored["latents"]), stored["angles"]
        return [PoseCodes(self.name, latents.to(next(generator.parameters())), self._cameras(angles), self.dims)]

    def _cameras(self, angles: np.ndarray) -> np.ndarray:
        """(N, 3, 4) canonical cube to pixels, of azimuths and elevations (N, 2) in degrees."""
        view = np.deg2rad(self.options.field_of_view)
        return np.stack([view_projection(self.dims, a, e, self.size, self.options.distance, view) for a, e in angles])

    def _search(self, generator: StyleGAN2Generator, probability: Probability, path: Path) -> None:
        layers, device = self.options.pose_layers, next(generator.parameters()).device
        regressor = PoseRegressor.load(self.options.regressor).to(device)
        rows = loop_codes(generator, self.search, layers)
        latents = rows[:, None].expand(-1, generator.rows, -1)
        cars = labelling_cars(generator, self.search, device)
        labels = label(generator, regressor, latents, cars, layers)
        good = trusted(labels, self.search)
        angles = np.stack([labels.azimuth, labels.elevation], 1)[good]
        latents = latents[torch.from_numpy(good).to(device)]
        images = [pictures(generator, posed(latents, car, layers)) for car in cars[:2]]
        masks = probability(images[0]) > 0.5  # the shape is the pose rows', so that of the second car is the same
        _require_masks(masks, "generated views", self.options.segmenter)
        paint = np.concatenate([mean_colours(shown.permute(0, 2, 3, 1).cpu().numpy(), masks) for shown in images], 1)
        chosen = choose(angles[:, 0], masks, paint, self._cameras(angles), self.search.count)
        print(f"{self.name}: {len(good)} of {len(rows)} codes are trusted, kept {len(chosen)}")
        kept = latents[torch.from_numpy(chosen).to(device)].cpu().numpy()
        keep(path, latents=kept, angles=angles[chosen], spread=labels.spread[good][chosen])
        shown = chosen[np.linspace(0, len(chosen) - 1, SHOWN).round().astype(int)]
        tiles = [picture.permute(1, 2, 0).cpu().numpy() for pair in images for picture in pair[shown]]
        write_atomically(self.options.root / "poses.png", png(stacked(tiles, SHOWN, 2)))


def mean_car() -> np.ndarray:
    """(3,) length, height, width of the studio's mean car, metres."""
    return np.asarray(sum(share * np.array(BODY_DIMS[body][0]) for body, share in zip(BODIES, BODY_SHARES)))


def _require_masks(mask: np.ndarray, views: str, path: object) -> None:
    if not mask.any():
        raise InputError(
            f"{path}: masks nothing in any of {len(mask)} {views}, expected the object; train it longer "
            "(val/iou in its result.json) or on images with this backdrop"
        )
