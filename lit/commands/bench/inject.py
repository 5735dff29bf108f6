"""What injection costs a data loader, against decoding the frame's PNG, at KITTI's size and on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from datamodules.assets.contract import AssetSource, Wanted
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.geometry import Boxes3D, Camera
from datamodules.images import read_image, write_image
from datamodules.injection.compositing import Compositor, Placed
from datamodules.injection.injection import Injection
from datamodules.injection.shadow import Shadow
from datamodules.scene import Frame
from datamodules.world.road_world import make_frame

FRAME_WIDTH, FRAME_HEIGHT = 1242, 375
GRID = (128, 52, 56)
PLACES = ((-2.6, 24.0, -1.6), (0.4, 27.0, 1.5), (2.8, 31.0, -1.5))  # x, z in metres, yaw; objects of up to 64 pixels
ROUNDS = 40


def baked_car(colour: tuple[int, int, int], number: int) -> VoxelAsset:
    """A solid car of boxes, as a voxel grid of the size that generators bake."""
    x, y, z = np.meshgrid(*((2 * np.arange(n) + 1) / n - 1 for n in GRID), indexing="ij", sparse=True)
    body = (np.abs(x) < 0.98) & (y > -0.15) & (y < 0.75) & (np.abs(z) < 0.95)
    cabin = (x > -0.85) & (x < 0.35) & (y > -0.98) & (y <= -0.15) & (np.abs(z) < 0.8)
    wheels = (np.minimum(np.abs(x - 0.62), np.abs(x + 0.62)) ** 2 * 8 + (y - 0.62) ** 2 < 0.14) & (np.abs(z) > 0.7)
    grid = np.zeros((*GRID, 4), np.uint8)
    for part, shade in ((body, np.array(colour)), (cabin, np.array([70, 75, 85])), (wheels, np.array([25, 25, 28]))):
        grid[part] = [*shade, 220]
    return VoxelAsset(f"baked-{number}", "Car", np.array([4.2, 1.5, 1.75]), grid)


def baked_cars() -> list[VoxelAsset]:
    """A red, a blue and a white one."""
    return [baked_car(c, i) for i, c in enumerate([(170, 40, 40), (60, 90, 160), (200, 200, 205)])]


def road_frame() -> Frame:
    """A frame of the road world at KITTI's size, with its road mask but neither depth nor instances, as KITTI is."""
    scene, drawn, objects, _ = make_frame(0, "000000", "train", FRAME_WIDTH, FRAME_HEIGHT)
    return Frame(np.ascontiguousarray(drawn.image).transpose(2, 0, 1), scene.camera, objects, "000000", drawn.road)


def draw_layers(camera: Camera, assets: Sequence[VoxelAsset]) -> list[Placed]:
    """Render each asset at its place."""
    placed = []
    for asset, (x, z, yaw) in zip(assets, PLACES):
        box = Boxes3D.single(np.array([x, 1.65, z]), asset.dims, yaw)
        layer = asset.render(camera, box)
        assert layer is not None
        placed.append(Placed(asset.id, asset.name, box, layer))
    return placed


def _whole_frame_shadow(camera: Camera, box: Boxes3D) -> np.ndarray:
    """(H, W, 1) float32 share of light that reaches the ground."""
    light = np.full((camera.height, camera.width, 3), 255, dtype=np.uint8)
    shadow = Shadow(camera, box)
    shadow.darken(light, np.full((shadow.window.height, shadow.window.width), np.inf, dtype=np.float32), 0.75)
    return light[..., :1].astype(np.float32) / 255


def whole_frame_composite(image: np.ndarray, camera: Camera, objects: Sequence[Placed]) -> np.ndarray:
    """The reference: every object blended over the whole (H, W, 3) frame in float32, shadow and blur included."""
    canvas = image.astype(np.float32) / 255
    for placed in objects:
        full = np.zeros((*canvas.shape[:2], 4), np.float32)
        full[placed.window.slices] = placed.layer.rgba.astype(np.float32) / 255
        canvas *= _whole_frame_shadow(camera, placed.box)
        soft = cv2.GaussianBlur(full, (5, 5), 1.0)
        colour = full[..., :3] / np.maximum(full[..., 3:], 1e-3)
        canvas = colour * soft[..., 3:] + canvas * (1.0 - soft[..., 3:])
    return np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)


def rounds_of(functions: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> np.ndarray:
    """(rounds, functions) CPU milliseconds, measured in turns so that all meet the same load of the machine."""
    times = np.zeros((rounds, len(functions)))
    for function in functions:
        function()
    for row in times:
        for column, function in enumerate(functions):
            start = time.thread_time()
            function()
            row[column] = (time.thread_time() - start) * 1e3
    return times


def alternate(functions: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """Median CPU milliseconds of each function (:func:`rounds_of`)."""
    return [float(value) for value in np.median(rounds_of(functions, rounds), 0)]


def quartiles(values: np.ndarray) -> list[float]:
    """Between which values the middle half of the rounds (N,) lies."""
    return [float(value) for value in np.percentile(values, [25, 75])]


class _Painter:
    """Pastes ready layers and writes their labels: what a loader does once crops are cached."""

    def __init__(self) -> None:
        self.injection = Injection(_NoSource(), compositor=Compositor(occluders="boxes"))

    def paste(self, frame: Frame, objects: list[Placed]) -> Frame:
        backdrop = self.injection.compositor.backdrop(frame)
        return self.injection.insert(backdrop, self.injection.compositor.arrange(backdrop, objects))


class BakedCars(AssetSource):
    """Draws from baked cars uniformly."""

    classes = ("Car",)

    def __init__(self, cars: Sequence[VoxelAsset] | None = None) -> None:
        self.cars = baked_cars() if cars is None else cars

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> VoxelAsset:
        """One of them."""
        return self.cars[int(rng.integers(len(self.cars)))]


class _NoSource(AssetSource):
    classes = ()

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> VoxelAsset:
        raise NotImplementedError("the bench hands its layers over")


def measure() -> dict[str, Any]:
    """Measure.

    Returns:
        cached_overhead: time to paste and label three cached crops over the PNG decode's; fresh_ms_per_object: to
        render, paste and label one; both with the quartiles of their rounds; ratio_to_float32: of a whole-frame float32
        composite to the cached paste. Then the raw milliseconds.
    """
    frame = road_frame()
    assets = baked_cars()
    layers = draw_layers(frame.camera, assets)
    painter = _Painter()
    flat = np.ascontiguousarray(frame.image.transpose(1, 2, 0))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "000000.png"
        write_image(path, frame.image)
        times = rounds_of(
            [
                lambda: read_image(path),
                lambda: painter.paste(frame.with_(image=read_image(path)), layers),
                lambda: painter.paste(frame, draw_layers(frame.camera, assets)),
            ]
        )
        decode, decode_paste, fresh = (float(value) for value in np.median(times, 0))
        cached = decode_paste - decode  # as in a loader: the paste finds the caches as the decoder left them
        (whole,) = alternate([lambda: whole_frame_composite(flat, frame.camera, layers)])
    return {
        "cached_overhead": cached / decode,
        "cached_overhead_quartiles": quartiles(times[:, 1] / times[:, 0] - 1),
        "fresh_ms_per_object": fresh / len(assets),
        "fresh_ms_per_object_quartiles": quartiles(times[:, 2] / len(assets)),
        "ratio_to_float32": whole / cached,
        "decode_ms": decode,
        "cached_ms": cached,
        "fresh_ms": fresh,
        "float32_ms": whole,
        "largest_object_pixels": float(max(max(p.layer.rgba.shape[:2]) for p in layers)),
    }
