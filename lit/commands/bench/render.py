"""``bench render``: one car crop from an EG3D-shaped field, by every renderer, against the published two-pass one.

All times are CPU times of one thread in one run, medians of repetitions after the compiled code is loaded; quality is
measured over the whole crop against 512 samples a ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from datamodules.assets.voxels.voxel_render import prepare_grid, render_voxels
from datamodules.assets.voxels.voxel_render_torch import prepare_grids_torch, render_voxels_torch
from datamodules.geometry import CORNER_SIGNS, Boxes3D, Camera, canonical_projection
from lit.commands.bench.field import HALF, car_field, ground_truth, two_pass
from lit.commands.bench.timing import one_thread, seconds
from lit.commands.report import tell
from lit.metrics.alignment import mask_iou, psnr
from lit.rendering.compiled import compiled_field

CROP = 64  # pixels
BAKE_FRAME = 128  # pixels of the reference frame that baking is compared with
GRID = (128, 52, 56)
EXACT_STEP = 1.0 / 32.0  # units of the field's cube
TORCH_STEPS = 0.6  # samples a voxel of the torch renderer
REPEATS = 15
REFERENCE_REPEATS = 3


def view(size: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Projection of the field's cube and a square crop whose width the car fills, seen obliquely from 12 m."""
    cube = Boxes3D.single(np.array([0.4, 2.5, 12.0]), np.full(3, 4.1), 0.7)
    focal = 170.0 * size / CROP
    camera = Camera(np.array([[focal, 0, 0, 0], [0, focal, 0, 0], [0, 0, 1.0, 0]]), size, size)
    projection = canonical_projection(camera, cube)[0]
    corners = (CORNER_SIGNS * HALF) @ projection[:, :3].T + projection[:, 3]
    pixels = corners[:, :2] / corners[:, 2:]
    middle = (pixels.min(0) + pixels.max(0)) / 2
    return projection, (int(middle[0] - size / 2), int(middle[1] - size / 2), size, size)


def quality(image: Tensor | np.ndarray, truth: Tensor | np.ndarray) -> dict[str, float]:
    """PSNR in dB of premultiplied colour in [0, 1], and IoU of the masks (opacity above one half)."""
    found, wanted = torch.as_tensor(image)[None], torch.as_tensor(truth)[None]
    iou = mask_iou(found[..., 3] > 0.5, wanted[..., 3] > 0.5)
    return {"psnr": float(psnr(found[..., :3], wanted[..., :3])), "mask_iou": float(iou)}


def measure() -> dict[str, Any]:
    """Run every renderer (the caller has set one thread)."""
    field = car_field()
    compiled = compiled_field(field)
    projection, window = view(CROP)
    truth = ground_truth(field, projection, window)
    grid = compiled.bake(GRID, HALF)
    prepared, prepared_torch = prepare_grid(grid), prepare_grids_torch(grid[None])
    box = projection.copy()
    box[:, :3] *= HALF  # the grid fills the car's box, a part of the field's cube
    corner = np.array([window[:2]])
    renderers: dict[str, Callable[[], np.ndarray]] = {
        "exact": lambda: compiled.render(projection, window, HALF, EXACT_STEP)[0],
        "baked": lambda: render_voxels(prepared, box, *window, unit=HALF)[0] / np.float32(255),
        "torch_baked": lambda: (
            render_voxels_torch(prepared_torch, box[None], corner, CROP, CROP, TORCH_STEPS, HALF)[0][0].numpy()
            / np.float32(255)
        ),
    }
    base = seconds(lambda: two_pass(field, projection, window), REFERENCE_REPEATS)
    published = two_pass(field, projection, window).numpy()
    result: dict[str, Any] = {"reference": {"ms": base * 1e3, **quality(published, truth)}}
    for name, render in renderers.items():
        taken = seconds(render, REPEATS)
        result[name] = {"ratio": base / taken, "ms": taken * 1e3, **quality(render(), truth)}
    frame = seconds(lambda: two_pass(field, *view(BAKE_FRAME)), 1)
    bake = seconds(lambda: replace(compiled).bake(GRID, HALF), 3)  # a copy knows no occupancy yet
    return {**result, "bake_fraction": bake / frame, "bake_ms": bake * 1e3}


def run(out: str | Path | None = None) -> dict[str, Any]:
    """Measure, print a table and write the figures.

    Args:
        out: JSON file to write, or None.

    Returns:
        ``exact``, ``baked`` and ``torch_baked`` with ``ratio`` (times faster than ``reference``), ``ms``, ``psnr``
        (dB) and ``mask_iou``; ``bake_fraction``, the time to bake one object (occupancy included) over that of one 128
        x 128 reference frame.
    """
    with one_thread():
        result = measure()
    table = Table(title=f"bench render: one {CROP} x {CROP} crop, CPU time of one thread")
    for column in ("renderer", "ms", "times faster", "PSNR dB", "mask IoU"):
        table.add_column(column, justify="left" if column == "renderer" else "right")
    for name in ("reference", "exact", "baked", "torch_baked"):
        row = result[name]
        table.add_row(
            name, f"{row['ms']:.2f}", f"{row.get('ratio', 1.0):.0f}", f"{row['psnr']:.1f}", f"{row['mask_iou']:.4f}"
        )
    tell(table, result, out)
    share = f"{result['bake_fraction']:.3f} of a {BAKE_FRAME} x {BAKE_FRAME} reference frame"
    print(f"baking {GRID}: {result['bake_ms']:.0f} ms, {share}")
    return result
