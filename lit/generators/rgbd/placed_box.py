"""Where the box of a drawn object lies: a class's size, and a side that is stated or that a regressor sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from datamodules.errors import InputError
from datamodules.object_classes import object_class
from datamodules.objects.object_images import backdrop
from datamodules.objects.photos.filling_view import filling_frame
from datamodules.objects.photos.photo import Photo
from datamodules.randomness import derive
from datamodules.renders.model_meshes import class_label
from lit.proxies.pose_regressor import PoseRegressor


class PlacedBox:
    """Gives photographs of objects that fill their picture a box; the label becomes KITTI's or nuScenes'.

    Args:
        dims: length, height, width in metres; None for the class's mean.
        azimuth, elevation: degrees of the side all are seen from; 0 is the front.
        regressor: finds both for each photograph instead.

    Raises:
        InputError: sizes or angles out of range.
    """

    def __init__(
        self,
        dims: Sequence[float] | None = None,
        azimuth: float = 0.0,
        elevation: float = 10.0,
        regressor: PoseRegressor | None = None,
    ) -> None:
        if dims is not None and not all(0.05 <= size <= 100 for size in dims):
            raise InputError(f"dims {' '.join(f'{size:g}' for size in dims)}: expected metres from 0.05 to 100")
        if not math.isfinite(azimuth):
            raise InputError(f"azimuth {azimuth:g}: expected degrees")
        if not abs(elevation) < 90:
            raise InputError(f"elevation {elevation:g}: expected degrees between -90 and 90")
        self.dims, self.azimuth, self.elevation, self.regressor = dims, azimuth, elevation, regressor

    def placed(self, photo: Photo) -> Photo:
        """A photograph with its box."""
        label = class_label(photo.name)
        dims = np.array(self.dims or object_class(label).dims, np.float64)
        azimuth, elevation = self.azimuth, self.elevation
        if self.regressor is not None:
            azimuth, elevation = self.regressor.pose(_on_backdrop(photo))[0].tolist()
        return replace(photo, name=label, frame=filling_frame(dims, azimuth, elevation), dims=dims)


def _on_backdrop(photo: Photo) -> torch.Tensor:
    """(1, 3, S, S) uint8, before what the regressor's training pictures stand."""
    alpha = np.full(photo.depth.shape, 255, np.uint8) if photo.alpha is None else photo.alpha
    share = alpha[..., None].astype(np.float32) / 255
    picture = photo.rgb * share + backdrop(len(photo.rgb), "grey", derive(0)) * (1 - share)
    return torch.from_numpy(np.rint(picture).astype(np.uint8).transpose(2, 0, 1).copy())[None]
