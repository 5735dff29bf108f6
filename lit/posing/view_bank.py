"""Banks of posed crops from generators that learned without poses: azimuth grid, mask, filter, calibration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.assets.view_assets import ViewAsset
from datamodules.errors import InputError
from datamodules.geometry import CORNER_SIGNS
from datamodules.object_classes import object_class
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio import view_projection
from datamodules.processes import track
from datamodules.randomness import derive
from detectors.rank_counts import mean_over_ranks
from lit.posing.azimuth import AzimuthCalibration, ViewMatcher, calibrate


class ViewBank:
    """Turns a compositional generator into posed views of new objects.

    Args:
        objects: assets to write.
        views: azimuths over the whole turn.
        elevation: of the camera, degrees; None for the middle of the generator's range.
        dims: length, height and width the objects are given, metres; by default the class's mean.
        name: class name.
        steepness: opacities are stretched so many times about one half: the mask is opacity > 0.5, with a soft rim.
        min_foreground: least share of the picture that the mask (opacity > 0.5) covers.
        max_border: largest share of the picture's border that the mask touches.
        min_views: share of an object's views that must pass; views that fail are left out, objects with fewer too.
        attempts: drawn objects per asset to write, before giving up.
        reference: posed image set that tells which way the objects look (:mod:`lit.posing.azimuth`); None to trust
            the two following numbers.
        reference_objects: how many of its objects are compared with.
        calibration_objects: generated objects that take part in the comparison.
        offset: heading azimuth at turn 0, degrees.
        sign: 1 when azimuth rises with the turn, -1 when it falls.
        seed: of the objects.
    """

    def __init__(
        self,
        objects: int = 100,
        views: int = 36,
        elevation: float | None = None,
        dims: tuple[float, float, float] | None = None,
        name: str = "Car",
        steepness: float = 6.0,
        min_foreground: float = 0.04,
        max_border: float = 0.0,
        min_views: float = 0.9,
        attempts: int = 4,
        reference: str | None = None,
        reference_objects: int = 40,
        calibration_objects: int = 24,
        offset: float = 0.0,
        sign: int = 1,
        seed: int = 0,
    ) -> None:
        if sign not in (1, -1):
            raise InputError(f"bank sign {sign}: expected 1 or -1; correct model.bank.sign")
        self.objects, self.views, self.elevation = objects, views, elevation
        self.dims, self.name = np.array(dims or object_class(name).dims), name
        self.min_foreground, self.max_border = min_foreground, max_border
        self.steepness = steepness
        self.min_views, self.attempts, self.seed = min_views, attempts, seed
        self.reference, self.reference_objects = reference, reference_objects
        self.calibration_objects = calibration_objects
        self.calibration = AzimuthCalibration(math.radians(offset), sign, math.nan, 0)

    def turns(self, device: torch.device) -> Tensor:
        """(V,) in-model turns, radians."""
        return torch.arange(self.views, device=device) * (2 * math.pi / self.views)

    @torch.no_grad()
    def turntable(self, network: Any, number: int, device: torch.device, purpose: str = "bank") -> np.ndarray:
        """(V, S, S, 4) uint8 straight RGBA of object ``number`` over the azimuth grid."""
        key = int(derive(self.seed, number, purpose).integers(2**62))
        codes = network.codes(1, torch.Generator().manual_seed(key)).repeat(self.views)
        scene = network.scene.ranges.fixed(self.turns(device), self.elevation)
        rgba = network.cut_out(type(codes)(*(part.to(device) for part in codes)), scene)
        rgba[:, 3] = 0.5 + self.steepness * (rgba[:, 3] - 0.5)
        return (rgba * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def calibrated(self, network: Any, device: torch.device) -> AzimuthCalibration:
        """The map from turn to heading azimuth, fitted on the reference set if there is one."""
        if self.reference is None:
            return self.calibration
        posed = PosedImageSet.load(self.reference)
        matcher = ViewMatcher(posed.subset(slice(0, self.reference_objects)))
        turns = self.turns(torch.device("cpu")).numpy()
        drawn = [self.turntable(network, number, device, "calibration") for number in range(self.calibration_objects)]
        seen = np.concatenate([matcher.azimuths(rgba) for rgba in drawn])
        return calibrate(np.tile(turns, len(drawn)), seen)

    def write(self, network: Any, device: torch.device, rank: int = 0, world_size: int = 1) -> list[ViewAsset]:
        """This rank's share of the bank's assets; the same whatever the number of ranks.

        Raises:
            InputError: none of the drawn objects passes the filter on any process.
        """
        calibration = self.calibrated(network, device)
        if rank == 0:
            print(f"azimuth = {calibration}")
        assets = []
        for slot in track(range(rank, self.objects, world_size), "objects", disable=rank > 0):
            for attempt in range(self.attempts):
                asset = self.asset(network, slot + attempt * self.objects, device, calibration)
                if asset is not None:
                    assets.append(asset)
                    break
        found = torch.tensor(float(len(assets)), device=device)
        if not mean_over_ranks(found):
            raise InputError(
                f"none of {self.objects * self.attempts} generated objects has a mask of at least"
                f" {self.min_foreground:g} of the picture off its border in {self.min_views:g} of its views;"
                " train longer or lower model.bank.min_foreground"
            )
        return assets

    def asset(
        self, network: Any, number: int, device: torch.device, calibration: AzimuthCalibration
    ) -> ViewAsset | None:
        """Object ``number``, or None when too few of its views are usable."""
        rgba = self.turntable(network, number, device)
        usable = np.flatnonzero(self.confident(rgba[..., 3]))
        if len(usable) < max(self.min_views * self.views, 1):
            return None
        ranges = network.scene.ranges
        elevation = self.elevation if self.elevation is not None else sum(ranges.elevation) / 2
        azimuths = calibration.azimuth(self.turns(torch.device("cpu")).numpy()[usable])
        projections = np.stack(
            [
                fitted_projection(self.dims, float(np.degrees(azimuth)), elevation, alpha)
                for azimuth, alpha in zip(azimuths, rgba[usable, ..., 3])
            ]
        )
        depth = np.where(rgba[usable, ..., 3] > 0, projections[:, None, None, 2, 3], 0.0).astype(np.float16)
        return ViewAsset(f"gan-{number:06d}", self.name, self.dims.copy(), rgba[usable], depth, projections)

    def confident(self, alpha: np.ndarray) -> np.ndarray:
        """(V,) bool of opacities (V, S, S): enough foreground, and clear of the border."""
        mask = alpha > 127
        border = np.concatenate([mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]], 1)
        enough = mask.any((1, 2)) & (mask.mean((1, 2)) >= self.min_foreground)
        return np.asarray(enough & (border.mean(1) <= self.max_border))


def fitted_projection(dims: np.ndarray, azimuth: float, elevation: float, alpha: np.ndarray) -> np.ndarray:
    """Projection (3, 4) of the canonical cube whose rectangle has the height and the middle of a mask.

    A generator without poses has no metric camera: the direction comes from its calibrated turn, place and size in the
    picture from the mask itself.

    Args:
        dims: (3,) length, height, width in metres.
        azimuth, elevation: degrees, as in :func:`datamodules.objects.studio.view_projection`.
        alpha: (S, S) uint8 opacity with a mask that is not empty.
    """
    projection = view_projection(dims, azimuth, elevation, len(alpha))
    corners = CORNER_SIGNS @ projection[:, :3].T + projection[:, 3]
    pixels = corners[:, :2] / corners[:, 2:]
    rows, columns = np.nonzero(alpha > 127)
    low, high = np.array([columns.min(), rows.min()]) - 0.5, np.array([columns.max(), rows.max()]) + 0.5
    scale = (high[1] - low[1]) / np.ptp(pixels[:, 1])
    shift = (low + high) / 2 - scale * (pixels.min(0) + pixels.max(0)) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]]) @ projection
