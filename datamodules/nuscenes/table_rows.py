"""The rows of nuScenes' tables that are read, and what their values may be.

A field that a table lacks is complained of where it is needed; one that is there has to fit. Bounds are those of a
planet's city: what lies beyond is a slip, and would be a number nobody notices.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

Name = Annotated[str, Meta(max_length=1000)]
Coordinate = Annotated[float, Meta(ge=-1e6, le=1e6)]  # metres in the global frame, or on the car
Quaternion = Annotated[float, Meta(ge=-10, le=10)]  # of a quaternion, which need not have unit length
Side = Annotated[float, Meta(ge=0, le=1000)]  # metres
Entry = Annotated[float, Meta(ge=-1e5, le=1e5)]  # of intrinsics: pixels
Time = Annotated[int, Meta(ge=0, le=10**17)]  # microseconds
Points = Annotated[int, Meta(ge=0, le=10**7)]
Pixels = Annotated[int, Meta(ge=0, le=1 << 16)]
FilePath = Annotated[str, Meta(max_length=1000, pattern=r"^(?!/)(?!.*\.\.)[^\x00]*\Z")]  # below the data root

Translation = tuple[Coordinate, Coordinate, Coordinate]
Rotation = tuple[Quaternion, Quaternion, Quaternion, Quaternion]
WANTED = {
    "translation": "3 numbers", "size": "3 numbers", "rotation": "4 numbers", "timestamp": "whole microseconds",
    "camera_intrinsic": "3 x 3 intrinsics of a camera, or []", "num_lidar_pts": "a count", "num_radar_pts": "a count",
    "width": "pixels", "height": "pixels", "filename": "a path below the data root", "is_key_frame": "true or false",
    "attribute_tokens": "a list of tokens",
}  # fmt: skip


class NamedRow(Struct):
    """Of the tables attribute, category and scene."""

    token: Name
    name: Name | UnsetType = UNSET


class SensorRow(Struct):
    """One sensor."""

    token: Name
    channel: Name | UnsetType = UNSET


class PoseRow(Struct):
    """A place and a turn."""

    token: Name
    timestamp: Time | UnsetType = UNSET
    translation: Translation | UnsetType = UNSET
    rotation: Rotation | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.rotation is not UNSET and not any(self.rotation):
            raise ValueError("a quaternion of zeros - at `$.rotation`")


class CalibratedSensorRow(PoseRow):
    """Where a sensor sits on the car, and the intrinsics of a camera."""

    sensor_token: Name | UnsetType = UNSET
    camera_intrinsic: list[tuple[Entry, Entry, Entry]] | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        rows = self.camera_intrinsic
        if rows is UNSET or not rows:
            return
        if len(rows) != 3 or rows[0][0] <= 0 or rows[1][1] <= 0 or rows[2] != (0, 0, 1):
            raise ValueError("no intrinsics of a camera - at `$.camera_intrinsic`")


class InstanceRow(Struct):
    """One object over time."""

    token: Name
    category_token: Name | UnsetType = UNSET


class SampleRow(Struct):
    """One moment."""

    token: Name
    timestamp: Time | UnsetType = UNSET
    scene_token: Name | UnsetType = UNSET


class SampleDataRow(Struct):
    """One file of a sensor."""

    token: Name
    sample_token: Name | UnsetType = UNSET
    ego_pose_token: Name | UnsetType = UNSET
    calibrated_sensor_token: Name | UnsetType = UNSET
    filename: FilePath | UnsetType = UNSET
    is_key_frame: bool | UnsetType = UNSET
    width: Pixels | UnsetType = UNSET
    height: Pixels | UnsetType = UNSET


class AnnotationRow(Struct):
    """One object in one sample."""

    token: Name
    sample_token: Name | UnsetType = UNSET
    instance_token: Name | UnsetType = UNSET
    attribute_tokens: list[Name] | UnsetType = UNSET
    translation: Translation | UnsetType = UNSET
    size: tuple[Side, Side, Side] | UnsetType = UNSET
    rotation: Rotation | UnsetType = UNSET
    prev: Name | UnsetType = UNSET
    next: Name | UnsetType = UNSET
    num_lidar_pts: Points | UnsetType = UNSET
    num_radar_pts: Points | UnsetType = UNSET


ROWS: dict[str, Any] = {
    "attribute": list[NamedRow], "category": list[NamedRow], "scene": list[NamedRow], "sensor": list[SensorRow],
    "ego_pose": list[PoseRow], "calibrated_sensor": list[CalibratedSensorRow], "instance": list[InstanceRow],
    "sample": list[SampleRow], "sample_data": list[SampleDataRow], "sample_annotation": list[AnnotationRow],
}  # fmt: skip
