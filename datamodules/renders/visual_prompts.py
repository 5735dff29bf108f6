"""What a ControlNet is shown of a render: its edges, its depth or its normals.

Source of the edges: 3D-DST's code, Canny(100, 200, aperture 3) on the render's RGB. Dropping alpha leaves edges to
whatever colour lies behind it; here the render is laid on white first.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.processes import run_jobs
from datamodules.renders.render_set import Render, RenderSet

VisualKind = Literal["canny", "depth", "normal"]
PROMPT_FOLDERS: dict[str, str] = {"canny": "canny", "depth": "depth_prompt", "normal": "normal_prompt"}
THRESHOLDS = (100.0, 200.0)
FARTHEST_GREY = 40  # of 255: the farthest point of an object still stands out from the empty background


def on_white(rgba: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 of straight RGBA (S, S, 4) on white."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def require_thresholds(low: float, high: float) -> None:
    """Check Canny's thresholds.

    Raises:
        InputError: they are not 0 <= low <= high.
    """
    if not 0 <= low <= high:
        raise InputError(f"Canny thresholds {low:g} and {high:g}: expected 0 <= low <= high, such as 100 and 200")


def canny_edges(rgb: np.ndarray, low: float = THRESHOLDS[0], high: float = THRESHOLDS[1]) -> np.ndarray:
    """(S, S) uint8, 255 on edges, of an (S, S, 3) uint8 RGB picture.

    Raises:
        InputError: thresholds that are not 0 <= low <= high.
    """
    require_thresholds(low, high)
    return np.asarray(cv2.Canny(np.ascontiguousarray(rgb[..., ::-1]), low, high, apertureSize=3))


def depth_prompt(depth: np.ndarray) -> np.ndarray:
    """(S, S) uint8 of depth (S, S) metres: near is bright, by inverse depth as MiDaS has it; 0 where empty."""
    solid = depth > 0
    if not solid.any():
        return np.zeros(depth.shape, np.uint8)
    inverse = np.where(solid, 1 / np.where(solid, depth, 1), 0)
    low, high = inverse[solid].min(), inverse[solid].max()
    share = (inverse - low) / max(float(high - low), 1e-9)
    return np.where(solid, np.rint(FARTHEST_GREY + (255 - FARTHEST_GREY) * share), 0).astype(np.uint8)


def normal_prompt(normals: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 of camera-frame normals (S, S, 3): red is left, green up, blue towards the camera; 0 where empty.

    ControlNet 1.1's protocol (ScanNet's), the opposite of the camera frame's axes.
    """
    solid = (normals != 0).any(-1, keepdims=True)
    return np.where(solid, np.rint((1 - normals) * 127.5), 0).astype(np.uint8)


def visual_prompt(render: Render, kind: VisualKind, thresholds: tuple[float, float] = THRESHOLDS) -> np.ndarray:
    """(S, S, 3) uint8 RGB, what a ControlNet of one kind is shown of a render."""
    if kind == "normal":
        return normal_prompt(render.normals)
    grey = depth_prompt(render.depth) if kind == "depth" else canny_edges(on_white(render.rgba), *thresholds)
    return np.repeat(grey[..., None], 3, -1)


def write_visual_prompts(
    renders: RenderSet,
    kinds: tuple[VisualKind, ...] = ("canny",),
    thresholds: tuple[float, float] = THRESHOLDS,
    workers: int = 1,
    progress: bool = False,
) -> int:
    """Write prompts as PNG beside the renders (``canny``, ``depth_prompt``, ``normal_prompt``); how many."""
    job = partial(_write_prompts, kinds=kinds, thresholds=thresholds)
    return sum(run_jobs(job, list(renders), workers, progress, "visual prompts"))


def _write_prompts(render: Render, kinds: tuple[VisualKind, ...], thresholds: tuple[float, float]) -> int:
    cv2.setNumThreads(1)
    for kind in kinds:
        picture = visual_prompt(render, kind, thresholds)
        stored = picture[..., ::-1] if kind == "normal" else picture[..., 0]
        write_atomically(
            render.path(PROMPT_FOLDERS[kind]), cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes()
        )
    return len(kinds)
