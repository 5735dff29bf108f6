"""Batches of baked cars rendered on the device."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from datamodules.assets.voxels.voxel_render_torch import prepare_grids_torch, render_voxels_torch
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox
from lit.commands.bench.inject import baked_cars

SIDE, BATCHES, ROUNDS = 64, (1, 8, 32), 10  # pixels, objects at a time
KITTI = Camera(np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]]), 1242, 375)


def measure_render(device: str, tiny: bool = False) -> dict[str, Any]:
    """Time the torch renderer on crops of 64 x 64 pixels, cars at 20 to 30 metres, grids prepared before.

    Args:
        device: "cuda" or "cpu".
        tiny: one round of small batches.

    Returns:
        ``ms_per_object_N`` for N objects at a time.
    """
    found: dict[str, Any] = {}
    cars = baked_cars()
    for count in BATCHES[: 1 if tiny else None]:
        grids = prepare_grids_torch(np.stack([cars[n % len(cars)].grid for n in range(count)]), device)
        boxes = _boxes(count, np.asarray(cars[0].dims))
        corners = np.floor(projected_bbox(KITTI, boxes)[:, :2])
        views = canonical_projection(KITTI, boxes)
        render_voxels_torch(grids, views, corners, SIDE, SIDE)
        rounds = 1 if tiny else ROUNDS
        _wait(device)
        began = time.perf_counter()
        for _ in range(rounds):
            render_voxels_torch(grids, views, corners, SIDE, SIDE)
        _wait(device)
        found[f"ms_per_object_{count}"] = (time.perf_counter() - began) * 1e3 / (rounds * count)
    return found


def _boxes(count: int, dims: np.ndarray) -> Boxes3D:
    rng = np.random.default_rng(0)
    depth = rng.uniform(20, 30, count)
    center = np.stack([rng.uniform(-6, 6, count), np.full(count, 1.65), depth], 1)
    return Boxes3D(center, np.tile(dims, (count, 1)), rng.uniform(-np.pi, np.pi, count))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
