"""How well a GAN's cars stand in the poses that pose codes promise, measured on cars that nothing was chosen by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from datamodules.objects.object_images import view_angles
from datamodules.randomness import derive
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.azimuth import ViewMatcher
from lit.posing.codes import PoseCodes, pictures, posed, random_car
from lit.posing.direction_poses import largest_gap
from lit.posing.silhouette_hull import agreement, carve, mean_colours
from lit.posing.views import Probability
from lit.proxies.pose_regressor import PoseRegressor, azimuth_error

VERSION = "1"  # of the figures; changes with how they are computed


@dataclass(frozen=True)
class PoseFigures:
    """Figures of one set of pose codes; angles in degrees, means over codes and cars.

    The regressor is the judge. Where it labelled the codes as well, its own error does not show in the first three, and
    ``matched_error`` tells more; ``hull_iou`` and ``paint_error`` do not come from it.

    Attributes:
        id: of the codes.
        poses: codes.
        cars: random cars.
        azimuth_error: between the pose's camera and what the regressor sees.
        azimuth_error_median: median of the same.
        elevation_error: as ``azimuth_error``.
        largest_gap: between neighbouring azimuths of the codes.
        hull_iou: IoU of a car's masks with the outlines of the body that they leave together.
        paint_error: mean absolute difference of a view's mean colour from the median of its car's, of 255.
        matched_error: as ``azimuth_error``, but seen by matching with posed views
            (:class:`lit.posing.azimuth.ViewMatcher`); None where there are none.
        matched_error_median: median of the same.
    """

    id: str
    poses: int
    cars: int
    azimuth_error: float
    azimuth_error_median: float
    elevation_error: float
    largest_gap: float
    hull_iou: float
    paint_error: float
    matched_error: float | None = None
    matched_error_median: float | None = None

    def __str__(self) -> str:
        azimuth = f"{self.azimuth_error:.1f} degrees (median {self.azimuth_error_median:.1f})"
        if self.matched_error is not None:
            azimuth += f", by matching {self.matched_error:.1f} (median {self.matched_error_median:.1f})"
        return (
            f"{self.poses} poses of {self.id} on {self.cars} new cars: azimuth error {azimuth}, elevation "
            f"{self.elevation_error:.1f}, largest gap {self.largest_gap:.0f}; silhouettes agree to IoU "
            f"{self.hull_iou:.3f}, paint to {self.paint_error:.0f}/255"
        )


def measure_poses(
    generator: StyleGAN2Generator,
    regressor: PoseRegressor,
    poses: PoseCodes,
    pose_layers: int,
    probability: Probability,
    cars: int = 4,
    seed: int = 0,
    matcher: ViewMatcher | None = None,
) -> PoseFigures:
    """Show every pose on new random cars.

    Args:
        generator: in evaluation mode.
        regressor: tells the pose of an image.
        poses: what is measured.
        pose_layers: rows that carry the pose.
        probability: (K, S, S) that a pixel of images (K, 3, S, S) uint8 is the car's.
        cars: how many; others than those of the labelling and than those that are drawn.
        seed: of the cars.
        matcher: a second judge, which knows nothing of the regressor.
    """
    wanted = view_angles(poses.projection, poses.dims)
    target, seen, matched, fit, tint = torch.from_numpy(wanted), [], [], [], []
    for number in range(cars):
        car = random_car(generator, derive(seed, "pose figures", number), poses.latents.device)
        images = pictures(generator, posed(poses.latents, car, pose_layers))
        seen.append(regressor.pose(images).cpu().double())
        masks = probability(images) > 0.5
        fit.append(agreement(carve(masks, poses.projection), masks, poses.projection).mean())
        colours = images.permute(0, 2, 3, 1).cpu().numpy()
        paint = mean_colours(colours, masks)
        tint.append(np.abs(paint - np.median(paint, 0)).mean())
        if matcher is not None:
            rgba = np.concatenate([colours, masks[..., None].astype(np.uint8) * 255], -1)
            matched.append(torch.from_numpy(np.rad2deg(matcher.azimuths(rgba))))
    read = torch.stack(seen)  # cars K 2
    off = azimuth_error(read[..., 0], target[:, 0])
    found = azimuth_error(torch.stack(matched), target[:, 0]) if matched else None
    return PoseFigures(
        poses.id,
        len(poses),
        cars,
        azimuth_error=float(off.mean()),
        azimuth_error_median=float(off.median()),
        elevation_error=float((read[..., 1] - target[:, 1]).abs().mean()),
        largest_gap=largest_gap(wanted[:, 0]),
        hull_iou=float(np.mean(fit)),
        paint_error=float(np.mean(tint)),
        matched_error=None if found is None else float(found.nanmean()),
        matched_error_median=None if found is None else float(found.nanmedian()),
    )
