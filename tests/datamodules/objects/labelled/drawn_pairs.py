"""Tiny sets of pictures with label maps, drawn without a renderer, in folders or archives."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.objects.labelled.cameras import camera_label
from datamodules.objects.studio import view_projection

DIMS = np.array([4.0, 1.5, 1.7])


def png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def camera(azimuth: float = 30.0, size: int = 16) -> list[float]:
    return camera_label(view_projection(DIMS, azimuth, 10.0, size), DIMS, 0.2, size).tolist()


def drawn(
    objects: int = 3, views: int = 2, size: int = 16, kind: str = "edge"
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files of a picture archive and of its label archive: squares that tell view and object apart."""
    images, labels, rows = {}, {}, []
    for number in range(objects * views):
        row, view = divmod(number, views)
        path = f"car{row}/car{row}_{view}.png"
        picture = np.full((size, size, 3), 255, np.uint8)
        picture[4:10, 4:10] = 10 * number
        values = np.full((size, size), 255 if kind == "edge" else 0, np.uint8)
        values[4:10, 4:6] = 0 if kind == "edge" else 1 + number % 2
        images[path], labels[path] = png(picture), png(values)
        rows.append([path, camera(40.0 * number, size)])
    images["dataset.json"] = json.dumps({"labels": rows}).encode()
    return images, labels


def write_files(path: Path, files: dict[str, bytes], archive: bool = True) -> Path:
    """A stored zip, or a folder."""
    if archive:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as written:
            for name, content in files.items():
                written.writestr(name, content)
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_drawn(folder: Path, archive: bool = True, **options: Any) -> tuple[Path, Path]:
    """Both archives or folders."""
    images, labels = drawn(**options)
    suffix = ".zip" if archive else ""
    return write_files(folder / f"images{suffix}", images, archive), write_files(
        folder / f"labels{suffix}", labels, archive
    )
