"""The rows of nuScenes' tables that are read, and what their values may be.

A field that a table lacks is complained of where it is needed; one that is there has to fit. A lacking vector is NaN.
Of ego_pose, which has millions of rows, only those that key frames name are looked at, and their times not at all.
Bounds are those of a planet's city: what lies beyond is a slip, and would be a number nobody notices.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Name = Annotated[str, Meta(max_length=1000)]
Coordinate = Annotated[float, Meta(ge=-1e6, le=1e6)]  # metres in the global frame, or on the car
Quaternion = Annotated[float, Meta(ge=-10, le=10)]  # of a quaternion, which need not have unit length
Side = Annotated[float, Meta(ge=0, le=1000)]  # metres
Entry = Annotated[float, Meta(ge=-1e5, le=1e5)]  # of intrinsics: pixels
Time = Annotated[int, Meta(ge=0, le=10**17)]  # microseconds
Points = Annotated[int, Meta(ge=0, le=10**7)]
Pixels = Annotated[int, Meta(ge=0, le=1 << 16)]
BELOW = r"^(?!/)(?!.*\.\.)[^\x00]*\Z"
FilePath = Annotated[str, Meta(max_length=1000, pattern=BELOW)]  # below the data root

Translation = tuple[Coordinate, Coordinate, Coordinate]
Rotation = tuple[Quaternion, Quaternion, Quaternion, Quaternion]
WANTED = {
    "translation": "3 numbers", "size": "3 numbers", "rotation": "4 numbers", "timestamp": "whole microseconds",
    "camera_intrinsic": "3 x 3 intrinsics of a camera, or []", "num_lidar_pts": "a count", "num_radar_pts": "a count",
    "width": "pixels", "height": "pixels", "filename": "a path below the data root", "is_key_frame": "true or false",
    "attribute_tokens": "a list of tokens",
}  # fmt: skip


LACKING = float("nan")
NOWHERE, UNTURNED = (LACKING,) * 3, (LACKING,) * 4


class NamedRow(Struct, gc=False):
    """Of the tables attribute, category and scene."""

    token: Name
    name: Name | UnsetType = UNSET


class SensorRow(Struct, gc=False):
    """One sensor."""

    token: Name
    channel: Name | UnsetType = UNSET


class PoseRow(Struct, gc=False):
    """A place and a turn."""

    token: Name
    translation: Translation = NOWHERE
    rotation: Rotation = UNTURNED

    def __post_init__(self) -> None:
        if not any(self.rotation):
            raise ValueError("a quaternion of zeros - at `$.rotation`")


class CalibratedSensorRow(PoseRow, gc=False):
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


class InstanceRow(Struct, gc=False):
    """One object over time."""

    token: Name
    category_token: Name | UnsetType = UNSET


class SampleRow(Struct, gc=False):
    """One moment."""

    token: Name
    timestamp: Time | UnsetType = UNSET
    scene_token: Name | UnsetType = UNSET


class SampleDataRow(Struct, gc=False):
    """One file of a sensor."""

    token: Name
    sample_token: Name | UnsetType = UNSET
    ego_pose_token: Name | UnsetType = UNSET
    calibrated_sensor_token: Name | UnsetType = UNSET
    filename: FilePath | UnsetType = UNSET
    is_key_frame: bool | UnsetType = UNSET
    width: Pixels | UnsetType = UNSET
    height: Pixels | UnsetType = UNSET


class AnnotationRow(Struct, gc=False):
    """One object in one sample."""

    token: Name
    sample_token: Name | UnsetType = UNSET
    instance_token: Name | UnsetType = UNSET
    attribute_tokens: list[Name] | UnsetType = UNSET
    translation: Translation = NOWHERE
    size: tuple[Side, Side, Side] = NOWHERE
    rotation: Rotation = UNTURNED
    prev: Name | UnsetType = UNSET
    next: Name | UnsetType = UNSET
    num_lidar_pts: Points | UnsetType = UNSET
    num_radar_pts: Points | UnsetType = UNSET


class QuickPoseRow(Struct, gc=False):
    """As :class:`PoseRow`, its numbers left as they are written: most places of the car are nobody's."""

    token: Name
    translation: Raw = Raw(b"")
    rotation: Raw = Raw(b"")


class QuickDataRow(Struct, gc=False):
    """As :class:`SampleDataRow`; what no field says is looked at for many rows at once."""

    token: Name
    sample_token: Name | UnsetType = UNSET
    ego_pose_token: Name | UnsetType = UNSET
    calibrated_sensor_token: Name | UnsetType = UNSET
    filename: Name | UnsetType = UNSET
    is_key_frame: bool | UnsetType = UNSET
    width: Pixels | UnsetType = UNSET
    height: Pixels | UnsetType = UNSET


def read_numbers(rows: Sequence[QuickPoseRow]) -> list[PoseRow]:
    """Rows with their numbers.

    Raises:
        msgspec.DecodeError, ValueError: a row lacks some, or they are not what they have to be.
    """
    translations = _TRANSLATIONS.decode(b"[%b]" % b",".join([row.translation for row in rows]))
    rotations = _ROTATIONS.decode(b"[%b]" % b",".join([row.rotation for row in rows]))
    zipped = zip(rows, translations, rotations, strict=True)
    return [PoseRow(row.token, translation, rotation) for row, translation, rotation in zipped]


def as_written(row: dict[str, Any]) -> QuickPoseRow:
    """A decoded row, its numbers as text again."""
    parts = {key: Raw(json.dumps(row[key]).encode()) for key in ("translation", "rotation") if key in row}
    return QuickPoseRow(row["token"], **parts)


def decoded_row(row: QuickPoseRow) -> dict[str, Any]:
    """The other way round."""
    parts = {"translation": row.translation, "rotation": row.rotation}
    return {"token": row.token} | {key: json.loads(bytes(raw)) for key, raw in parts.items() if bytes(raw)}


def strictly_below(rows: Sequence[QuickDataRow]) -> bool:
    """Whether the files of key frames, which alone are opened, lie below the data root."""
    good = re.compile(BELOW).match
    return all(row.filename is UNSET or good(row.filename) for row in rows if row.is_key_frame)


ROWS: dict[str, Any] = {
    "attribute": list[NamedRow], "category": list[NamedRow], "scene": list[NamedRow], "sensor": list[SensorRow],
    "ego_pose": list[PoseRow], "calibrated_sensor": list[CalibratedSensorRow], "instance": list[InstanceRow],
    "sample": list[SampleRow], "sample_data": list[SampleDataRow], "sample_annotation": list[AnnotationRow],
}  # fmt: skip
QUICK_FORMS: dict[str, tuple[Any, Callable[[Any], bool] | None]] = {  # decoded first, then looked at
    **{table: (type_, None) for table, type_ in ROWS.items()},
    "ego_pose": (list[QuickPoseRow], None), "sample_data": (list[QuickDataRow], strictly_below),
}  # fmt: skip
_TRANSLATIONS, _ROTATIONS = msgspec.json.Decoder(list[Translation]), msgspec.json.Decoder(list[Rotation])
