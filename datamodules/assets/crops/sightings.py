"""The same labelled object in several frames of a drive, found by its box.

KITTI's annotators fitted one box to an object for all frames of a drive: its length, height and width are the same to
the centimetre in each of them. Where two objects of a frame share all three, nobody can tell them apart in another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from datamodules.assets.recomposition import RecomposedAsset
from datamodules.geometry import wrap_angle


class Sighting(NamedTuple):
    """An object cut out of one of the frames that show it.

    Attributes:
        crop: its pixels, box and camera.
        frame: sample id.
    """

    crop: RecomposedAsset
    frame: str


def same_objects(sightings: Sequence[Sighting], drives: Mapping[str, str]) -> dict[tuple[str, ...], list[Sighting]]:
    """Objects that at least two frames of a drive show: drive and size to the centimetre, and where it is seen.

    Args:
        sightings: of all frames.
        drives: frame to drive.
    """
    groups: dict[tuple[str, ...], list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        size = (f"{metres:.2f}" for metres in sighting.crop.dims)
        groups[(drives[sighting.frame], *size)].append(sighting)
    return {
        key: sorted(seen, key=lambda sighting: sighting.frame)
        for key, seen in sorted(groups.items())
        if len(seen) == len({sighting.frame for sighting in seen}) > 1
    }


def turn_between(one: RecomposedAsset, other: RecomposedAsset) -> float:
    """Degrees between the directions that two crops were seen from, about the vertical axis."""
    return float(np.degrees(np.abs(wrap_angle(one.angles[0] - other.angles[0]))[0]))


def ordered_pairs(seen: Sequence[Sighting], sources: Container[str], most: int) -> list[tuple[Sighting, Sighting]]:
    """Pairs (source, target) of an object's sightings; of more than ``most``, as many, spread evenly over turns.

    Args:
        seen: all of one object.
        sources: ids of crops that may be a pair's first.
        most: pairs.
    """
    firsts = [sighting for sighting in seen if sighting.crop.id in sources]
    pairs = [(source, target) for source in firsts for target in seen if source is not target]
    pairs.sort(key=lambda pair: (turn_between(pair[0].crop, pair[1].crop), pair[0].frame, pair[1].frame))
    if len(pairs) <= most:
        return pairs
    return [pairs[int(place)] for place in np.linspace(0, len(pairs) - 1, most).round()]
