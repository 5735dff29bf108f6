"""Which way a generated object looks: matching its views against posed images, and the map from turn to azimuth.

A generator that learned from images without poses has its own zero of the turn; until it is known, every label made
from its pictures is off by that angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.assets.visibility import viewing_direction
from datamodules.errors import InputError
from datamodules.geometry import wrap_angle
from datamodules.objects.posed_images import PosedImageSet

SIDE = 24  # pixels of the normalised crops that are compared


@dataclass(frozen=True)
class AzimuthCalibration:
    """Azimuth = sign * turn + offset.

    Attributes:
        offset: radians.
        sign: 1 or -1.
        residual: median absolute angle between the map and what was seen, radians; NaN where nothing was compared.
        count: views compared.
    """

    offset: float
    sign: int
    residual: float
    count: int

    def azimuth(self, turns: np.ndarray) -> np.ndarray:
        """Heading azimuths in [-pi, pi) of in-model turns, radians (azimuth: :mod:`datamodules.objects.studio`)."""
        return wrap_angle(self.sign * turns + self.offset)

    def __str__(self) -> str:
        seen = f", median residual {np.degrees(self.residual):.1f} degrees of {self.count} views" if self.count else ""
        return f"{'-' if self.sign < 0 else ''}turn {np.degrees(self.offset):+.1f} degrees{seen}"


def calibrate(turns: np.ndarray, azimuths: np.ndarray) -> AzimuthCalibration:
    """Fit sign and offset to (N,) turns and the azimuths seen there, radians; outliers count little.

    Both signs are tried with every offset of a one-degree grid; the one with the least mean of min(|error|, 45 degrees)
    wins, so that single confusions of front and back do not pull.

    Azimuths that are NaN are left out.

    Raises:
        InputError: nothing to fit.
    """
    turns, azimuths = turns[np.isfinite(azimuths)], azimuths[np.isfinite(azimuths)]
    if not len(turns):
        raise InputError("azimuth calibration: no generated view shows an object, expected some; train longer")
    offsets = np.radians(np.arange(360.0))
    best: tuple[float, int, float, float] | None = None
    for sign in (1, -1):
        error = np.abs(wrap_angle(azimuths - sign * turns - offsets[:, None]))
        cost = np.minimum(error, np.pi / 4).mean(1)
        index = int(cost.argmin())
        if best is None or cost[index] < best[0]:
            best = (float(cost[index]), sign, float(offsets[index]), float(np.median(error[index])))
    assert best is not None
    return AzimuthCalibration(float(wrap_angle(np.array([best[2]]))[0]), best[1], best[3], len(turns))


class ViewMatcher:
    """Tells the azimuth of a cut-out by its nearest neighbours among posed views.

    Cut-outs are brought to one size by their mask; silhouette and brightness inside it are compared by correlation.

    Args:
        posed: views with known cameras.
        neighbours: whose azimuths are averaged on the circle, weighted by similarity.
    """

    def __init__(self, posed: PosedImageSet, neighbours: int = 5) -> None:
        objects, views = posed.rgba.shape[:2]
        size = posed.image_size
        self.descriptors = describe(np.asarray(posed.rgba).reshape(objects * views, size, size, 4))
        direction = np.concatenate([viewing_direction(p, d) for p, d in zip(posed.projection, posed.dims)])
        self.azimuth, self.neighbours = np.arctan2(direction[:, 2], direction[:, 0]), neighbours

    def azimuths(self, rgba: np.ndarray) -> np.ndarray:
        """(V,) azimuths in radians of straight RGBA views (V, S, S, 4) uint8; NaN where the mask is empty."""
        found = describe(rgba)
        similarity = found @ self.descriptors.T
        nearest = np.argsort(-similarity, axis=1)[:, : self.neighbours]
        weight = np.exp(20 * (np.take_along_axis(similarity, nearest, 1) - similarity.max(1, keepdims=True)))
        azimuths = np.angle((weight * np.exp(1j * self.azimuth[nearest])).sum(1))
        return np.where(np.linalg.norm(found, axis=1) > 0, azimuths, np.nan)


def describe(rgba: np.ndarray) -> np.ndarray:
    """(V, 2 * SIDE * SIDE) unit vectors of cut-outs (V, S, S, 4) uint8; zero where the mask is empty."""
    described = np.zeros((len(rgba), 2 * SIDE * SIDE), np.float32)
    for row, picture in enumerate(rgba):
        mask = picture[..., 3] > 127
        if not mask.any():
            continue
        rows, columns = np.nonzero(mask)
        reach = max(np.ptp(rows), np.ptp(columns)) / 2 + 1.0
        middle = np.array([(columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2])
        zoom = (SIDE / 2) / reach
        matrix = np.column_stack([np.eye(2) * zoom, SIDE / 2 - 0.5 - zoom * middle])
        shade = picture[..., :3].astype(np.float32).mean(-1)
        spread = max(float(shade[mask].std()), 1.0)
        shade = np.where(mask, (shade - shade[mask].mean()) / spread, 0).astype(np.float32)
        flags = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        parts = [
            cv2.warpAffine(source, matrix, (SIDE, SIDE), flags=flags)
            for source in (mask.astype(np.float32) * 2.0, shade)
        ]
        parts[0] = parts[0] - parts[0].mean()
        vector = np.concatenate([part.ravel() for part in parts])
        described[row] = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return described
