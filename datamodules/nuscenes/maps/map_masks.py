"""Road masks of nuScenes' pictures from its maps, without a segmenter.

A picture's mask is the drivable ground seen from above, warped through the plane that the labelled vehicles stand on,
less what labelled objects hide. Houses and what nobody labelled hide nothing: the map does not know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from datamodules.assets.crops.outlines import solid_outline, solids_of
from datamodules.errors import DatasetNotFound
from datamodules.geometry import Camera, canonical_projection
from datamodules.injection.ground import fit_plane, ground_homography, ground_lift
from datamodules.nuscenes.boxes import DETECTION_NAMES
from datamodules.nuscenes.maps.expansion import EXPANSION, PIXEL, DrivableMap, check_map, scene_locations
from datamodules.nuscenes.samples import Sample, Shot, to_level
from datamodules.object_classes import VEHICLES
from datamodules.scene import Objects

NEAREST = 0.5  # metres of depth; ground nearer than this is under the car


class MapMasks:
    """The maps of a data set's locations.

    Attributes:
        folder: that holds LOCATION.json.
        locations: of each scene, by name.
    """

    def __init__(self, folder: Path, tables: Path) -> None:
        """Look up where the scenes are; maps are read when they are needed.

        Args:
            folder: that holds LOCATION.json.
            tables: the version's folder.

        Raises:
            DatasetNotFound: a folder or table is missing.
            InputError: see :func:`scene_locations`.
        """
        if not folder.is_dir():
            raise DatasetNotFound(
                f"{folder} does not exist; expected a folder of such files as {EXPANSION}; correct --maps"
            )
        self.folder, self.locations = folder, scene_locations(tables)
        self._map = lru_cache(maxsize=4)(DrivableMap.read)

    def files(self, scenes: Iterable[str]) -> list[Path]:
        """The files that some scenes need.

        Raises:
            DatasetNotFound: one of them is missing.
        """
        files = [self.folder / f"{location}.json" for location in sorted({self.locations[scene] for scene in scenes})]
        for path in files:
            check_map(path)
        return files

    def masks(self, sample: Sample, objects: Iterable[Objects]) -> Iterator[np.ndarray]:
        """(H, W) bool drivable ground in each of a sample's pictures.

        Args:
            sample: of a scene of the data set.
            objects: labelled objects of each picture, which hide the ground behind them.
        """
        ground = self._map(self.folder / f"{self.locations[sample.scene]}.json").above(sample.ego[:2, 3])
        boxes = to_level(sample.truth.boxes, sample.ego)
        names = np.array(DETECTION_NAMES)[sample.truth.boxes.labels]
        plane = fit_plane(boxes[np.flatnonzero(np.isin(names, VEHICLES))], 0.0)  # as surround injection has it
        for shot, hiding in zip(sample.shots, objects, strict=True):
            yield seen_ground(ground, sample.ego, plane, shot) & ~_outlines(shot.camera, hiding)


def seen_ground(ground: np.ndarray, ego: np.ndarray, plane: np.ndarray, shot: Shot) -> np.ndarray:
    """(H, W) bool, which pixels of a picture see ground that is marked from above.

    Args:
        ground: (N, N) of :meth:`DrivableMap.above`, around the car.
        ego: (4, 4) level frame of the car to global frame.
        plane: (4,) ground in the level frame of the car.
        shot: the picture.
    """
    to_pixels = ground_homography(shot.seen_from(ego), plane)
    reach = (len(ground) - 1) / 2
    centred = np.array([[1 / PIXEL, 0, reach], [0, 1 / PIXEL, reach], [0, 0, 1]])
    offset = ego[[0, 1]].copy()
    offset[:, 3] = 0.0  # the raster's middle is the car
    from_above = centred @ np.vstack([offset @ ground_lift(plane), [0.0, 0.0, 1.0]])
    size = (shot.camera.width, shot.camera.height)
    seen = cv2.warpPerspective(ground, to_pixels @ np.linalg.inv(from_above), size, flags=cv2.INTER_NEAREST) > 127
    inverse = np.linalg.inv(to_pixels)[2]  # times a pixel: one over the depth of its ground
    nearness = inverse[0] * np.arange(size[0]) + inverse[1] * np.arange(size[1])[:, None] + inverse[2]
    return np.asarray(seen & (nearness > 0) & (nearness < 1 / NEAREST))


def _outlines(camera: Camera, objects: Objects) -> np.ndarray:
    """(H, W) bool pixels that labelled objects cover."""
    covered = np.zeros((camera.height, camera.width), dtype=np.bool_)
    for name, projection in zip(objects.names, canonical_projection(camera, objects.boxes)):
        covered |= solid_outline(projection, solids_of(str(name)), camera.height, camera.width)
    return covered
