"""KITTI's object files, read and written: label and result rows, calibration, planes.

Every reader refuses with one line that names the file, the row and the cure; every writer replaces its file atomically.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes, write_atomically
from datamodules.geometry import Boxes3D
from datamodules.scene import Objects

LABEL_COLUMNS = 15
RESULT_COLUMNS = 16
DIFFICULTIES = ("easy", "moderate", "hard")


def _text(path: Path, kind: str) -> str:
    try:
        return read_bytes(path, kind).decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; expected {kind}; copy it again") from None


def _row(path: Path, number: int, line: str) -> tuple[str, list[float]]:
    """Class name and the numeric columns of one row."""
    cells = line.split()
    if len(cells) not in (LABEL_COLUMNS, RESULT_COLUMNS):
        raise InputError(
            f"{path}:{number}: {len(cells)} columns, expected {LABEL_COLUMNS} (label) or {RESULT_COLUMNS} (result); "
            "repair or delete the row"
        )
    bad = next((cell for cell in cells[1:] if not _is_number(cell)), None)
    if bad is not None:
        raise InputError(f"{path}:{number}: {bad!r} is not a finite number; repair or delete the row")
    values = [float(cell) for cell in cells[1:]]
    # Detectors that see in 2D alone report -1000 for the place; only labels must have boxes in front of the camera.
    if len(cells) == LABEL_COLUMNS and cells[0] != "DontCare":
        width, length, z, yaw = values[8], values[9], values[12], values[13]
        farthest = z + (abs(length * math.sin(yaw)) + abs(width * math.cos(yaw))) / 2
        if farthest <= 0:
            raise InputError(
                f"{path}:{number}: {cells[0]} at z = {z:g} m lies behind the camera, expected z > 0; "
                "repair or delete the row"
            )
    return cells[0], values


def _numbers(text: str) -> np.ndarray:
    """The finite numbers of a row; none when any cell is something else."""
    cells = text.split()
    return np.array([float(cell) for cell in cells] if all(map(_is_number, cells)) else [], dtype=np.float64)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def read_label(path: Path | str) -> Objects:
    """Read a label_2 file (15 columns) or a result file (16, the last is the score).

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: a row has another number of columns, a value that is not finite, or a box behind the camera.
    """
    path = Path(path)
    text = _text(path, "a KITTI label file")
    rows = [_row(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
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


def write_label(path: Path | str, objects: Objects, digits: int = 4) -> None:
    """Write a label file (15 columns), or a result file (16) when ``objects.score`` is given."""
    write_atomically(path, format_label(objects, digits))


def read_calibration(path: Path | str) -> np.ndarray:
    """P2 of a calib file, (3, 4) float64, fourth column included.

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: no P2 row, or not twelve finite numbers in it.
    """
    path = Path(path)
    for number, line in enumerate(_text(path, "a KITTI calibration file").splitlines(), 1):
        key, _, cells = line.partition(":")
        if key.strip() != "P2":
            continue
        values = _numbers(cells)
        if values.shape != (12,):
            raise InputError(f"{path}:{number}: P2 is not twelve finite numbers; restore the calibration file")
        return values.reshape(3, 4)
    raise InputError(f"{path}: no row 'P2:', expected the left colour camera's projection; restore the file")


def write_calibration(path: Path | str, projection: np.ndarray) -> None:
    """Write a calib file whose P0 to P3 all hold ``projection`` and whose rectification is the identity."""
    matrix = " ".join(f"{value:.12e}" for value in np.asarray(projection, np.float64).ravel())
    identity = " ".join(f"{value:.12e}" for value in np.eye(3).ravel())
    # KITTI's axes of the laser scanner (x forward, y left, z up) in the camera's.
    velodyne = " ".join(f"{value:.12e}" for value in (0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0))
    still = " ".join(f"{value:.12e}" for value in np.eye(3, 4).ravel())
    rows = [f"P{i}: {matrix}" for i in range(4)]
    rows += [f"R0_rect: {identity}", f"Tr_velo_to_cam: {velodyne}", f"Tr_imu_to_velo: {still}"]
    write_atomically(path, "\n".join(rows) + "\n\n")


def read_plane(path: Path | str) -> np.ndarray:
    """Ground plane (4,) a, b, c, d of a planes/*.txt file: three header lines, then the numbers.

    Scaled to a unit normal that points up (b < 0).

    Raises:
        DatasetNotFound: the file does not exist.
        InputError: the fourth line is not a plane.
    """
    path = Path(path)
    rows = _text(path, "a ground plane").splitlines()
    values = _numbers(rows[3] if len(rows) > 3 else "")
    if values.shape != (4,) or not values[:3].any():
        raise InputError(f"{path}:4: not four finite plane coefficients; delete the planes folder or restore the file")
    values = values / np.linalg.norm(values[:3])
    return values if values[1] < 0 else -values


def write_plane(path: Path | str, plane: np.ndarray) -> None:
    """Write a ground plane (4,) in the layout that :func:`read_plane` reads."""
    row = " ".join(f"{value:.9e}" for value in plane)
    write_atomically(path, f"# Plane\nWidth 4\nHeight 1\n{row}\n")
