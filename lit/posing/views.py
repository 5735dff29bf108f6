"""Posed views of new cars from a StyleGAN2: the poses of given codes, one random code for everything else.

Source: Li et al., Lift3D, CVPR 2023, section 3.2: rows [0, pose_layers) of a W+ latent carry the pose, the others shape
and appearance; views of one car share the latter; masks come from a segmenter that has to be sure of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.codes import CHUNK, PoseCodes, pictures, posed, random_car
from lit.proxies.torchvision_segmenter import AnySegmenter

Probability = Callable[[Tensor], np.ndarray]  # images (K, 3, S, S) uint8 to (K, S, S) that a pixel is the object's


@dataclass(frozen=True)
class ViewRules:
    """When a generated view is good enough to learn from.

    Attributes:
        confidence: least expected IoU of the mask, see :func:`mask_confidence`.
        area: least share of the image that the mask covers.
        overlap: least IoU of the mask with the pose's silhouette; 0 asks for none.
    """

    confidence: float = 0.5
    area: float = 0.02
    overlap: float = 0.0


@dataclass(frozen=True)
class GanCar:
    """One new car.

    Attributes:
        rgba: (V, S, S, 4) uint8 its good views, or None when there are too few.
        views: (V,) the poses they were made from.
        faults: how many views failed for which reason.
    """

    rgba: np.ndarray | None
    views: np.ndarray
    faults: dict[str, int] = field(default_factory=dict)


def composited(rgba: np.ndarray, backdrop: np.ndarray) -> Tensor:
    """Images (V, 3, S, S) in [-1, 1] of views (V, S, S, 4) uint8 on a backdrop (3,) or (S, S, 3) in [0, 255]."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    image = rgba[..., :3] * alpha + np.asarray(backdrop, np.float32) * (1 - alpha)
    return torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1


def mask_confidence(probability: np.ndarray, mask: np.ndarray) -> float:
    """Expected IoU of a mask (S, S) with the truth, if each pixel is the object's with its probability (S, S).

    Ratio of the expected intersection and the expected union. The mean probability inside a mask of all pixels above
    one half could not fall below one half, whatever the segmenter thinks of the picture.
    """
    union = float(mask.sum() + probability[~mask].sum())
    return float(probability[mask].sum()) / union if union > 0 else 0.0


def object_probability(segmenter: AnySegmenter, rows: list[int], images: Tensor) -> np.ndarray:
    """(K, S, S) float32 probability that a pixel of images (K, 3, S, S) uint8 is of one of the segmenter's rows."""
    found = [segmenter.probabilities(chunk)[:, rows].sum(1).cpu() for chunk in images.split(CHUNK)]
    return torch.cat(found).clamp(0, 1).float().numpy()


def cut_out(probability: np.ndarray) -> np.ndarray:
    """(S, S) bool the largest connected part of the pixels that are more probably the object's than not."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats((probability > 0.5).astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros(probability.shape, bool)
    return np.asarray(parts == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax()))


def fault(probability: np.ndarray, silhouette: np.ndarray | None, rules: ViewRules) -> str | None:
    """Why a view is not to be used, or None.

    Args:
        probability: (S, S) of the object.
        silhouette: (S, S) bool of the pose; None is no fault.
        rules: what is asked for.
    """
    mask = cut_out(probability)
    if mask.mean() < max(rules.area, 1 / mask.size):
        return "small"
    if mask[[0, -1]].any() or mask[:, [0, -1]].any():
        return "border"
    if mask_confidence(probability, mask) < rules.confidence:
        return "unsure"
    if silhouette is not None and (mask & silhouette).sum() < rules.overlap * (mask | silhouette).sum():
        return "displaced"
    return None


def soft_alpha(probability: np.ndarray) -> np.ndarray:
    """(S, S) uint8 opacity: the probability in the object's part and one pixel around it."""
    near = cv2.dilate(cut_out(probability).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.rint(np.where(near > 0, probability, 0) * 255).astype(np.uint8)


def straight_colour(image: np.ndarray, alpha: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    """Colour of the object alone where its rim is mixed with the backdrop; otherwise a halo would be lifted with it.

    Args:
        image: (V, S, S, 3) uint8.
        alpha: (V, S, S) uint8 opacity.
        backdrop: (3,) or (S, S, 3) in [0, 255], what the images were learnt before.

    Returns:
        (V, S, S, 3) uint8, unchanged where the object covers less than a tenth.
    """
    share = alpha[..., None].astype(np.float32) / 255
    own = (image - (1 - share) * np.asarray(backdrop, np.float32)) / np.maximum(share, 0.1)
    return np.where(share < 0.1, image, np.rint(own).clip(0, 255)).astype(np.uint8)


def spread(accepted: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the accepted view numbers, evenly spread in their order."""
    return accepted[np.linspace(0, len(accepted) - 1, count).round().astype(np.int64)]


@dataclass(frozen=True)
class GanViews:
    """Draws cars.

    Attributes:
        generator: in evaluation mode.
        probability: of the object, in images such as the generator's; see :func:`object_probability`.
        poses: among which the views are chosen.
        pose_layers: rows that are taken from the poses' latents.
        views: views a car; cars with fewer good ones are dropped.
        rules: when a view is good.
        truncation: of the shared code.
        seed: of the draws.
        backdrop: (3,) or (S, S, 3) in [0, 255] what the generator's images were learnt before, to be taken out of the
            object's rim; None leaves the rim as it is.

    Raises:
        InputError: the split leaves no row on one side, or more views are wanted than there are poses.
    """

    generator: StyleGAN2Generator
    probability: Probability
    poses: PoseCodes
    pose_layers: int
    views: int
    rules: ViewRules = ViewRules()
    truncation: float = 1.0
    seed: int = 0
    backdrop: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_split(self.generator, self.pose_layers)
        if not 0 < self.views <= len(self.poses):
            raise InputError(f"{self.views} views of {len(self.poses)} poses: expected 1 to {len(self.poses)}")

    def car_latents(self, draw: int) -> Tensor:
        """(K, rows, w_dim) latents of car number ``draw`` in every pose."""
        given = self.poses.latents
        car = random_car(self.generator, derive(self.seed, "gan views", draw), given.device, self.truncation)
        return posed(given, car, self.pose_layers)

    @torch.no_grad()
    def draw(self, draw: int) -> GanCar:
        """Car number ``draw``: the same for the same seed, whatever was drawn before."""
        images = pictures(self.generator, self.car_latents(draw))
        probability = self.probability(images)
        silhouettes = [None] * len(self.poses) if self.poses.silhouettes is None else self.poses.silhouettes
        faults = [fault(p, silhouette, self.rules) for p, silhouette in zip(probability, silhouettes)]
        counted = dict(sorted(Counter(name for name in faults if name is not None).items()))
        accepted = np.flatnonzero([name is None for name in faults])
        if len(accepted) < self.views:
            return GanCar(None, accepted, counted)
        chosen = spread(accepted, self.views)
        colours = images.permute(0, 2, 3, 1).cpu().numpy()[chosen]
        alpha = np.stack([soft_alpha(probability[view]) for view in chosen])
        if self.backdrop is not None:
            colours = straight_colour(colours, alpha, self.backdrop)
        return GanCar(np.concatenate([colours, alpha[..., None]], -1), chosen, counted)


def check_split(generator: StyleGAN2Generator, pose_layers: int) -> None:
    """Check that the split leaves rows on both sides.

    Raises:
        InputError: none is left for the pose, or none for the car.
    """
    if not 0 < pose_layers < generator.rows:
        raise InputError(
            f"pose layers {pose_layers}: a generator of {generator.synthesis.resolution} pixels has {generator.rows} "
            f"rows, expected 1 to {generator.rows - 1} of them; lower --pose-layers"
        )
