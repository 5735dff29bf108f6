"""What says where road is in pictures: a segmenter, or the maps of nuScenes' map expansion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from datamodules.errors import InputError
from datamodules.nuscenes.maps.map_masks import MapMasks
from datamodules.processes import track
from lit.commands.prepare.masks import class_rows, predicted
from lit.commands.prepare.roads.road_pictures import RoadPictures, mask_name
from lit.proxies.torchvision_segmenter import load_segmenter, segmenter_file
from lit.weights.files import digest

ROADS = ("road", "parking")  # Cityscapes' drivable classes; the suite's own segmenter has the first


class RoadSource(Protocol):
    """Makes road masks.

    Attributes:
        place: the file or folder it was made of, for messages.
        maker: what tells its masks from another's, as it is kept beside them.
        remedies: what to do when it finds no road at all, and when labelled vehicles stand beside its road.
    """

    place: Path
    maker: dict[str, str]
    remedies: tuple[str, str]

    def masks(self, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Names of some pictures and their masks, (H, W) bool, in the order of the names."""


class SegmenterRoads:
    """Road as a segmenter sees it; see :class:`RoadSource`."""

    def __init__(self, checkpoint: Path, pictures: RoadPictures) -> None:
        self.place, self.pictures = checkpoint, pictures
        self.model = load_segmenter(checkpoint)
        self.rows = class_rows(self.model, ROADS, checkpoint)
        self.maker = {"checkpoint": digest(segmenter_file(checkpoint))}
        self.remedies = (
            "train it longer (val/iou/road in its result.json) or on images like these",
            "train it on images like these, lower --min-coverage, or place without masks",
        )

    def masks(self, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """See :class:`RoadSource`."""
        for name, classes in predicted(self.model, {name: self.pictures.files[name] for name in names}, "road masks"):
            yield name, np.isin(classes, self.rows)


class MapRoads:
    """Drivable ground of maps in nuScenes' pictures; see :class:`RoadSource`."""

    def __init__(self, folder: Path, pictures: RoadPictures, version: str) -> None:
        """Open.

        Raises:
            DatasetNotFound: there is no such folder.
            InputError: the pictures are not nuScenes', or a map is not there.
        """
        if pictures.samples is None:
            raise InputError(f"--maps {folder}: only nuScenes has such maps, expected --root with samples/")
        self.place, self.pictures, self.samples = folder, pictures, pictures.samples
        self.maps = MapMasks(folder, pictures.root / version)
        files = self.maps.files({self.samples.scene(number) for number in range(len(self.samples))})
        self.maker = {"maps": " ".join(f"{path.stem}:{digest(path)}" for path in files)}
        self.remedies = (
            "are the maps of these scenes' locations, in the same version?",
            "are maps and poses of one release? Else lower --min-coverage, or place without masks",
        )

    def masks(self, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """See :class:`RoadSource`."""
        wanted = set(names)
        for number in track(range(len(self.samples)), "road masks"):
            sample = self.samples[number]
            shots = [mask_name(shot) for shot in sample.shots]
            if wanted.isdisjoint(shots):
                continue
            objects = [self.pictures.shots[name][1] for name in shots]
            yield from (pair for pair in zip(shots, self.maps.masks(sample, objects)) if pair[0] in wanted)
