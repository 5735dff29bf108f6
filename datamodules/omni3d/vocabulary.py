"""Omni3D's names of classes, their numbers, and how KITTI and nuScenes spell them.

Numbers are those of the released files for the classes of streets (the outdoor model's published list of classes states
them, the numbers 2, 6 and 7 of classes that it ignores or lacks follow from its order); others are numbered from 1,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from datamodules.kitti.rows import ANY_AREA, KITTI_CLASSES

Spelling = Literal["kitti", "nuscenes", "omni3d"]
IGNORED_CATEGORIES = ("dontcare", "ignore", "void")  # categories of areas that are neither object nor background
NUMBERS = {
    name: number
    for number, name in enumerate(
        (
            "pedestrian", "car", "dontcare", "cyclist", "van", "truck", "tram", "person",
            "traffic cone", "barrier", "motorcycle", "bicycle", "bus", "trailer",
        )
    )
}  # fmt: skip
FIRST_OWN = 1000  # number of the first class that the released files of streets lack


def category_name(name: str) -> str:
    """Omni3D's name of a class of KITTI or nuScenes."""
    return "person" if name == "Person_sitting" else name.lower().replace("_", " ")


_KITTI_SPELLING = {category_name(name): name for name in KITTI_CLASSES}


def spelled(category: str, spelling: Spelling) -> str:
    """The name that detectors and sources of objects know an Omni3D category by; what is ignored is KITTI's DontCare.

    Args:
        category: its name in the file.
        spelling: whose names the detector's classes are.
    """
    if category in IGNORED_CATEGORIES:
        return ANY_AREA
    if spelling == "kitti":
        return _KITTI_SPELLING.get(category, category)
    return category.replace(" ", "_") if spelling == "nuscenes" else category


def numbered(categories: Iterable[str]) -> dict[str, int]:
    """Numbers of categories by name, in the order of the numbers."""
    named = set(categories)
    own = {name: FIRST_OWN + place for place, name in enumerate(sorted(named - set(NUMBERS)))}
    return {name: number for name, number in NUMBERS.items() if name in named} | own
