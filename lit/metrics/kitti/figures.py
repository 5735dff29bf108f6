"""Which figures of the KITTI evaluation are asked for beyond the development kit's own: IoU limits and depth ranges.

A figure of a range of depths (z, metres along the camera's axis) evaluates only objects whose z lies in it: ground
truth outside is ignored, as KITTI ignores the objects of other difficulties (it absorbs detections and is never
missed), and a detection that matches nothing is a false alarm only where its own z lies in the range. One that matches
an object of the range is a true positive wherever it lies. These are COCO's rules for its ranges of area (pycocotools,
``COCOeval.evaluateImg``; T.-Y. Lin et al., ECCV 2014), applied to depth; KITTI itself has no such figure. A range from
0 begins before the camera, so that ranges without a gap share out all objects and all false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datamodules.errors import InputError
from datamodules.kitti.format import DIFFICULTIES
from lit.metrics.kitti.rows import EVALUATED

OVERLAPS = ("bbox", "bev", "3d")
IOU_LIMITS = {"car": 0.7, "pedestrian": 0.5, "cyclist": 0.5}
STRATIFIED = "car"  # depth ranges are evaluated for cars, in 3D, at moderate difficulty
ExtraIous = Mapping[str, Sequence[float]]
DepthRanges = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Figure:
    """One AP.

    Attributes:
        name: such as "car/3d/moderate/0.5" or "car/3d/moderate/0.5/40m+".
        target: index of the class in ``EVALUATED``.
        metric: index of the overlap in ``OVERLAPS``.
        difficulty: 0 easy, 1 moderate, 2 hard.
        limit: a match overlaps more than this.
        near: least depth (m) of an object that counts.
        far: depth (m) from which on objects no longer count.
    """

    name: str
    target: int
    metric: int
    difficulty: int
    limit: float
    near: float = -math.inf
    far: float = math.inf


def figure(target: str, metric: str, difficulty: str, limit: float, depths: Sequence[float | None] = ()) -> Figure:
    """The figure of that class, overlap, difficulty and IoU limit, over all depths or over a range of them."""
    indices = EVALUATED.index(target), OVERLAPS.index(metric), DIFFICULTIES.index(difficulty)
    name = f"{target}/{metric}/{difficulty}/{limit:g}"
    if not depths:
        return Figure(name, *indices, limit)
    near, far = depths
    assert near is not None
    stratum = f"{near:g}m+" if far is None else f"{near:g}-{far:g}m"
    return Figure(f"{name}/{stratum}", *indices, limit, near or -math.inf, math.inf if far is None else far)


def depth_figures(extra_ious: ExtraIous, depth_ranges: DepthRanges) -> list[Figure]:
    """The depth ranges at the extra IoU limits of cars; at KITTI's own when there is none."""
    limits = extra_ious.get(STRATIFIED) or [IOU_LIMITS[STRATIFIED]]
    return [figure(STRATIFIED, "3d", "moderate", limit, depths) for limit in limits for depths in depth_ranges]


def recorded_figures(extra_ious: ExtraIous, depth_ranges: DepthRanges) -> list[Figure]:
    """What is recorded frame by frame: cars in 3D at moderate difficulty, at KITTI's limit and the extra ones."""
    limits = dict.fromkeys([IOU_LIMITS[STRATIFIED], *extra_ious.get(STRATIFIED, ())])
    return [figure(STRATIFIED, "3d", "moderate", limit, depths) for limit in limits for depths in ((), *depth_ranges)]


def checked_ious(extra_ious: ExtraIous) -> dict[str, list[float]]:
    """A copy of extra IoU limits by class.

    Raises:
        InputError: a class that is not evaluated, or a limit outside (0, 1).
    """
    for name, limits in extra_ious.items():
        if name not in EVALUATED:
            raise InputError(f"extra_ious names the class {name!r}: expected one of {', '.join(EVALUATED)}")
        for limit in limits:
            if not 0 < limit < 1:
                raise InputError(f"extra_ious[{name!r}] holds {limit!r}: expected IoU limits between 0 and 1")
    return {name: list(limits) for name, limits in extra_ious.items()}


def checked_depths(depth_ranges: DepthRanges) -> list[list[float | None]]:
    """A copy of depth ranges.

    Raises:
        InputError: one that is no pair of metres with 0 <= near < far, or stands twice.
    """
    checked: list[list[float | None]] = []
    for depths in depth_ranges:
        near, far = depths if len(depths) == 2 else (None, None)
        if near is None or not 0 <= near < math.inf or (far is not None and not near < far < math.inf):
            raise InputError(
                f"depth_ranges holds {list(depths)}: expected [near, far] in metres with 0 <= near < far, "
                "far null for no end, such as [40, null]"
            )
        if [near, far] in checked:
            raise InputError(f"depth_ranges holds {list(depths)} twice: expected each range once; delete one")
        checked.append([near, far])
    return checked
