"""KITTI's object files, read and written: label and result rows, calibration, planes.

Every reader refuses with one line that names the file, the row and the cure; every writer replaces its file atomically.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.text_files import read_text
from datamodules.geometry import Boxes3D
from datamodules.kitti.rows import RESULT_COLUMNS, cells_of, decimal, read_row
from datamodules.scene import Objects

DIFFICULTIES = ("easy", "moderate", "hard")
UNIT_TOLERANCE = 0.01  # a plane normal may differ by from length 1
STEEPEST, HIGHEST = 0.5, 100.0  # cosine of a ground plane's tilt; metres of the camera above it
LARGEST = 20_000.0  # of a projection's entries: pixels, and pixels times metres


def _numbers(text: str) -> np.ndarray:
    """The finite numbers of a row; none when any cell is something else."""
    values = [decimal(cell) for cell in cells_of(text)]
    return np.array([] if None in values else values, dtype=np.float64)


def read_label(
    path: Path | str,
    scored: bool | None = None,
    class_map: Mapping[str, str] | None = None,
) -> Objects:
    """Read a label_2 file (15 columns) or a result file (16, the last is the score).

    An ``alpha`` of -10 is kept, also of labels: like the C++ development kit, which asks of ground truth only that the
    angle is a number.

    Args:
        path: the file.
        scored: whether rows have to end in a score; None takes both kinds.
        class_map: names in the file to names of classes.

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: a row breaks a rule of :mod:`datamodules.kitti.rows`, or the file is not what was written.
    """
    path = Path(path)
    text = read_text(path, "a KITTI label file")
    lines = enumerate(text.split("\n"), 1)
    rows = [read_row(f"{path}:{place}", line, scored, class_map) for place, line in lines if cells_of(line)]
    if not rows:
        return Objects.empty()
    if len({len(values) for _, values in rows}) > 1:
        raise InputError(f"{path}: rows of 15 and of 16 columns, expected one kind; give every row a score or none")
    table = np.array([values for _, values in rows], dtype=np.float64)
    boxes = Boxes3D(table[:, 10:13].copy(), table[:, [9, 7, 8]].copy(), table[:, 13].copy())
    return Objects(
        boxes,
        np.array([name for name, _ in rows]),
        table[:, 3:7].copy(),
        table[:, 0].copy(),
        table[:, 1].astype(np.int64),
        table[:, 2].copy(),
        table[:, 14].copy() if table.shape[1] == RESULT_COLUMNS - 1 else None,
    )


def format_label(objects: Objects, digits: int = 4) -> str:
    """The rows of a label file, or of a result file when the objects have scores."""
    rows = []
    for i, name in enumerate(objects.names):
        length, height, width = objects.boxes.dims[i]
        numbers = [objects.alpha[i], *objects.bbox[i], height, width, length, *objects.boxes.center[i]]
        numbers.append(objects.boxes.yaw[i])
        cells = [str(name), f"{objects.truncation[i]:.2f}", str(int(objects.occlusion[i]))]
        cells += [f"{number:.{digits}f}" for number in numbers]
        if objects.score is not None:
            cells.append(f"{objects.score[i]:.6f}")
        rows.append(" ".join(cells))
    return "".join(row + "\n" for row in rows)


def write_label(path: Path | str, objects: Objects, digits: int = 4) -> str:
    """Write a label file (15 columns), or a result file (16) when ``objects.score`` is given; its digest."""
    return write_atomically(path, format_label(objects, digits))


def read_calibration(path: Path | str) -> np.ndarray:
    """P2 of a calib file, (3, 4) float64, fourth column included.

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: no P2 row, not twelve finite numbers in it, or not those of a camera: focal lengths of 1 or more, a
            third row 0 0 1 t, no skew, as KITTI's rectified cameras have.
    """
    path = Path(path)
    for place, line in enumerate(read_text(path, "a KITTI calibration file").split("\n"), 1):
        key, _, cells = line.partition(":")
        if key.strip() != "P2":
            continue
        values = _numbers(cells)
        if values.shape != (12,):
            raise InputError(f"{path}:{place}: P2 is not twelve finite numbers; restore the calibration file")
        projection = values.reshape(3, 4)
        focal, third = np.diag(projection)[:2], projection[2, :3]
        fixed = np.array([*third - [0, 0, 1], projection[0, 1], projection[1, 0]])
        if np.abs(values).max() > LARGEST or focal.min() < 1 or np.abs(fixed).max() > 1e-6:
            raise InputError(
                f"{path}:{place}: P2 is no rectified camera's, expected f 0 u t / 0 f v t / 0 0 1 t with f >= 1 and "
                f"entries within {LARGEST:g}; restore the calibration file"
            )
        return projection
    raise InputError(f"{path}: no row 'P2:', expected the left colour camera's projection; restore the file")


def write_calibration(path: Path | str, projection: np.ndarray) -> str:
    """Write a calib file whose P0 to P3 all hold ``projection`` and whose rectification is the identity; its digest."""
    matrix = " ".join(f"{value:.12e}" for value in np.asarray(projection, np.float64).ravel())
    identity = " ".join(f"{value:.12e}" for value in np.eye(3).ravel())
    # KITTI's axes of the laser scanner (x forward, y left, z up) in the camera's.
    velodyne = " ".join(f"{value:.12e}" for value in (0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0))
    still = " ".join(f"{value:.12e}" for value in np.eye(3, 4).ravel())
    rows = [f"P{i}: {matrix}" for i in range(4)]
    rows += [f"R0_rect: {identity}", f"Tr_velo_to_cam: {velodyne}", f"Tr_imu_to_velo: {still}"]
    return write_atomically(path, "\n".join(rows) + "\n\n")


def read_plane(path: Path | str) -> np.ndarray:
    """Ground plane (4,) a, b, c, d of a planes/*.txt file: three header lines, then the numbers.

    Its normal is a unit vector, as in every file of KITTI's; it comes out pointing up (b < 0).

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: the fourth line is not a plane.
    """
    path = Path(path)
    rows = read_text(path, "a ground plane").split("\n")
    values = _numbers(rows[3] if len(rows) > 3 else "")
    if values.shape != (4,) or not values[:3].any():
        raise InputError(f"{path}:4: not four finite plane coefficients; delete the planes folder or restore the file")
    length = np.linalg.norm(values[:3])
    if abs(length - 1) > UNIT_TOLERANCE:
        raise InputError(
            f"{path}:4: a normal of length {length:g}, expected 1; delete the planes folder or restore the file"
        )
    values = values / length
    if abs(values[1]) < STEEPEST or abs(values[3]) > HIGHEST:
        found = " ".join(f"{value:g}" for value in values)
        raise InputError(
            f"{path}:4: no ground below a camera ({found}), expected a normal near "
            f"the y axis and at most {HIGHEST:g} m; delete the planes folder or restore the file"
        )
    return values if values[1] < 0 else -values


def write_plane(path: Path | str, plane: np.ndarray) -> str:
    """Write a ground plane (4,), of any scale, in the layout that :func:`read_plane` reads; its digest."""
    row = " ".join(f"{value:.9e}" for value in np.asarray(plane) / np.linalg.norm(plane[:3]))
    return write_atomically(path, f"# Plane\nWidth 4\nHeight 1\n{row}\n")
