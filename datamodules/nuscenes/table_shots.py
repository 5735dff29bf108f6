"""Samples of nuScenes' tables, and the key frames of their cameras and of the upper lidar, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from datamodules.errors import InputError, printable
from datamodules.nuscenes.table_columns import (
    CAMERAS,
    LIDAR_INDEX,
    LOST,
    NO_USE,
    SENSORS_READ,
    Problems,
    TableColumns,
    Texts,
    linked,
    names_by_token,
    numbers,
)
from datamodules.nuscenes.table_stream import dangles, lacks, read_rows


def read_moments(folder: Path, scenes: dict[str, int]) -> tuple[dict[str, int], TableColumns]:
    """Row numbers of samples by token; their tokens, times and scenes."""
    rows = list(chain.from_iterable(read_rows(folder, "sample")))
    times, places = [row.timestamp for row in rows], [scenes.get(row.scene_token, LOST) for row in rows]
    if LOST in places:
        raise linked(folder, "sample", rows[places.index(LOST)], "scene_token", "scene")
    if UNSET in times:
        raise lacks(folder, "sample", rows[times.index(UNSET)].token, "timestamp")
    columns: TableColumns = {"sample_time": np.array(times, np.int64), "sample_scene": np.array(places, np.int32)}
    columns |= Texts.columns("sample_token", [row.token for row in rows])
    return {row.token: number for number, row in enumerate(rows)}, columns


def _read_rigs(folder: Path) -> tuple[dict[str, int], list[int], list[Any]]:
    """Row numbers of calibrated sensors by token, their places in :data:`SENSORS_READ` (-1 for another), their rows."""
    sensors, names = names_by_token(folder, "sensor", "channel")
    rows = list(chain.from_iterable(read_rows(folder, "calibrated_sensor")))
    codes = [SENSORS_READ.index(name) if name in SENSORS_READ else NO_USE for name in names]
    links = [sensors.get(row.sensor_token, LOST) for row in rows]
    if LOST in links:
        raise linked(folder, "calibrated_sensor", rows[links.index(LOST)], "sensor_token", "sensor")
    return {row.token: number for number, row in enumerate(rows)}, [codes[link] for link in links], rows


def read_shots(folder: Path, samples: dict[str, int], problems: Problems) -> TableColumns:
    """Key frames of the cameras and the lidar: which picture, through which sensor, and where the car was."""
    rigs, channels, rig_rows = _read_rigs(folder)
    count, token_of = len(samples), list(samples)
    rig, pose = (np.full((count, len(SENSORS_READ)), -1, np.int32) for _ in range(2))
    size, files = np.full((count, len(CAMERAS), 2), -1, np.int32), [""] * (count * len(CAMERAS))
    wanted: dict[str, int] = {}
    for number, row in _key_frames(folder):
        sample = samples.get(row.sample_token, LOST)
        if sample == LOST:
            if row.sample_token is UNSET:
                raise lacks(folder, "sample_data", row.token, "sample_token")
            continue
        link = rigs.get(row.calibrated_sensor_token, LOST)
        if link == LOST:
            error = linked(folder, "sample_data", row, "calibrated_sensor_token", "calibrated_sensor")
            problems.add("shots", sample, (0, number), error)
            continue
        channel = channels[link]
        if channel == NO_USE:
            continue
        rig[sample, channel] = link
        pose[sample, channel] = LOST
        if row.ego_pose_token is UNSET:
            step = "lidar" if channel == LIDAR_INDEX else "shots"
            problems.add(step, sample, (0, number), lacks(folder, "sample_data", row.token, "ego_pose_token"))
        else:
            pose[sample, channel] = wanted.setdefault(row.ego_pose_token, len(wanted))
        if channel != LIDAR_INDEX:
            for key in ("filename", "width", "height"):
                if getattr(row, key) is UNSET:
                    problems.add("shots", sample, (1, sample), lacks(folder, "sample_data", row.token, key))
                    break
            else:
                files[sample * len(CAMERAS) + channel] = row.filename
                size[sample, channel] = row.width, row.height
    values, found = _read_poses(folder, wanted)
    _check_shots(folder, token_of, rig, pose, (list(wanted), values, found), problems)
    _check_rigs(folder, rig, rig_rows, problems)
    values = np.concatenate([values, np.full((2, 7), np.nan)])  # for those that are missing: -1 and LOST
    columns: TableColumns = {
        "shot_pose": values[pose],
        "shot_rig": rig,
        "shot_size": size,
        "rig": _rig_columns(rig_rows),
    }
    return columns | Texts.columns("shot_file", files)


def _key_frames(folder: Path) -> Iterator[tuple[int, Any]]:
    """Rows of key frames, with their numbers among those."""
    number = 0
    for rows in read_rows(folder, "sample_data"):
        for row in [row for row in rows if row.is_key_frame is not False]:
            if row.is_key_frame is UNSET:
                raise lacks(folder, "sample_data", row.token, "is_key_frame")
            yield number, row
            number += 1


def _read_poses(folder: Path, wanted: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation (P, 7) of the wanted rows, NaN where lacking, and which rows (P,) there are."""
    poses, found = np.full((len(wanted), 7), np.nan), np.zeros(len(wanted), np.bool_)
    for rows in read_rows(folder, "ego_pose", wanted=wanted):
        places = [wanted[row.token] for row in rows]
        poses[places] = numbers(rows, (("rotation", 4), ("translation", 3)))
        found[places] = True
    return poses, found


def _rig_columns(rows: Sequence[Any]) -> np.ndarray:
    """(C, 16) rotation, translation and intrinsics, NaN for what is lacking."""
    columns = np.full((len(rows), 16), np.nan)
    columns[:, :7] = numbers(rows, (("rotation", 4), ("translation", 3)))
    for number, row in enumerate(rows):
        if row.camera_intrinsic is not UNSET and row.camera_intrinsic:
            columns[number, 7:] = np.ravel(row.camera_intrinsic)
    return columns


def _check_shots(
    folder: Path,
    tokens: Sequence[str],
    rig: np.ndarray,
    pose: np.ndarray,
    poses: tuple[list[str], np.ndarray, np.ndarray],
    problems: Problems,
) -> None:
    """Note missing key frames, and places that are not there or say nothing."""
    names, values, found = poses
    for sample, channel in np.argwhere(rig < 0).tolist():
        place = printable(f"{folder / 'sample_data.json'}: sample {tokens[sample]}")
        error = InputError(f"{place} has no key frame of {SENSORS_READ[channel]}; copy the tables of one release again")
        problems.add("lidar" if channel == LIDAR_INDEX else "shots", sample, (1, sample), error)
    bad = np.append(~found | np.isnan(values).any(1), [False, False])
    for sample, channel in np.argwhere(bad[pose]).tolist():
        place = pose[sample, channel]
        lidar = channel == LIDAR_INDEX
        if not found[place]:
            step, error = "lidar" if lidar else "shots", dangles(folder, "sample_data", "ego_pose", names[place])
        else:
            key = "translation" if np.isnan(values[place, 4:]).any() else "rotation"
            step = "lidar" if lidar and key == "translation" else "shots"
            error = lacks(folder, "ego_pose", names[place], key)
        problems.add(step, sample, (int(step == "shots"), sample), error)


def _check_rigs(folder: Path, rig: np.ndarray, rows: Sequence[Any], problems: Problems) -> None:
    """Note cameras that lack their place on the car, or their intrinsics."""
    errors: dict[int, InputError] = {}
    for number, row in enumerate(rows):
        for key in ("translation", "rotation", "camera_intrinsic"):
            value = getattr(row, key)
            if value is UNSET or (key != "camera_intrinsic" and value[0] != value[0]):
                errors.setdefault(number, lacks(folder, "calibrated_sensor", row.token, key))
            elif not value:
                place = printable(f"{folder / 'calibrated_sensor.json'}: {row.token}")
                cure = "copy the tables of one release again"
                errors.setdefault(number, InputError(f"{place} has no 3 x 3 camera_intrinsic; {cure}"))
    if errors:
        for sample, channel in np.argwhere(np.isin(rig[:, : len(CAMERAS)], list(errors))).tolist():
            problems.add("shots", sample, (1, sample), errors[int(rig[sample, channel])])
