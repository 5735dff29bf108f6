"""Processor time of the KITTI evaluator on a validation split's worth of files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.randomness import derive
from lit.commands.bench.timing import timed
from lit.metrics.kitti.evaluation import evaluate_folders

FRAMES, OBJECTS, DETECTIONS = 3769, 5, 15  # the validation half of Chen's split, with its mean numbers of rows
_NAMES = np.array(["Car", "Pedestrian", "Cyclist", "Van", "DontCare"])
_SHARES = np.array([0.6, 0.15, 0.1, 0.1, 0.05])
_DIMS = {"Car": (1.5, 1.6, 3.9), "Pedestrian": (1.7, 0.6, 0.8), "Cyclist": (1.7, 0.6, 1.8), "Van": (2.1, 1.9, 4.9)}
_FOCAL, _CENTER_U, _CENTER_V = 721.5, 609.6, 172.9  # KITTI's usual left colour camera, pixels


def write_frames(folder: Path, frames: int = FRAMES, seed: int = 0) -> tuple[Path, Path]:
    """Write seeded label and result files with 5 objects and 15 detections a frame.

    Two detections in three are noisy copies of objects, the rest are false.

    Returns:
        The label folder and the result folder.
    """
    labels, results = folder / "label_2", folder / "results"
    labels.mkdir(parents=True)
    results.mkdir()
    for index in range(frames):
        rng = derive(seed, index, "bench_kitti")
        names = rng.choice(_NAMES, OBJECTS, p=_SHARES)
        places = np.column_stack([rng.uniform(-15, 15, OBJECTS), rng.uniform(8, 60, OBJECTS)])
        yaws = rng.uniform(-np.pi, np.pi, OBJECTS)
        rows = [_row(name, x, z, yaw) for name, (x, z), yaw in zip(names, places, yaws)]
        occlusion = rng.choice(4, OBJECTS, p=[0.55, 0.2, 0.15, 0.1])
        truncation = np.where(rng.random(OBJECTS) < 0.1, rng.random(OBJECTS), 0.0)
        head = [f"{name} {t:.2f} {o}" for name, t, o in zip(names, truncation, occlusion)]
        (labels / f"{index:06d}.txt").write_text("".join(f"{h} {r}\n" for h, r in zip(head, rows)))
        lines = []
        for k in range(DETECTIONS):
            source = k % OBJECTS
            name = "Car" if names[source] == "DontCare" else names[source]
            copied = k < 2 * OBJECTS
            x, z = places[source] + rng.normal(0, 0.15 if copied else 8.0, 2)
            score = rng.random() * (1.0 if copied else 0.6)
            row = _row(name, x, max(z, 4.0), yaws[source] + rng.normal(0, 0.1))
            lines.append(f"{name} -1 -1 {row} {score:.4f}\n")
        (results / f"{index:06d}.txt").write_text("".join(lines))
    return labels, results


def _row(name: str, x: float, z: float, yaw: float) -> str:
    """A label row from its fourth column on, with a plausible image box."""
    if name == "DontCare":
        left, top = 600 + 20 * x, 170.0
        return f"-10 {left:.2f} {top:.2f} {left + 60:.2f} {top + 30:.2f} -1 -1 -1 -1000 -1000 -1000 -10"
    height, width, length = _DIMS[name]
    y = 1.65
    left, right = (_FOCAL * (x + side * (width + length) / 4) / z + _CENTER_U for side in (-1, 1))
    top, bottom = _FOCAL * (y - height) / z + _CENTER_V, _FOCAL * y / z + _CENTER_V
    alpha = yaw - np.arctan2(x, z)
    bbox = f"{left:.2f} {top:.2f} {right:.2f} {bottom:.2f}"
    return f"{alpha:.2f} {bbox} {height:.2f} {width:.2f} {length:.2f} {x:.2f} {y:.2f} {z:.2f} {yaw:.2f}"


def measure() -> dict[str, Any]:
    """Time ``evaluate_folders``, file reading included, after a warm-up on a few frames.

    Returns:
        ``kitti_cpu_seconds`` (process time), ``kitti_wall_seconds``, and the size of the set.
    """
    with tempfile.TemporaryDirectory() as folder:
        warm = write_frames(Path(folder) / "warm", frames=20)
        full = write_frames(Path(folder) / "full")
        evaluate_folders(*warm)  # loads the compiled code
        result, cpu, wall = timed(lambda: evaluate_folders(*full))
    return {
        "kitti_cpu_seconds": cpu,
        "kitti_wall_seconds": wall,
        "kitti_frames": FRAMES,
        "kitti_objects_per_frame": OBJECTS,
        "kitti_detections_per_frame": DETECTIONS,
        "kitti_car_3d_moderate": result["ap40"]["car"]["3d"][1],
    }
