"""What injection costs at the sizes and distances of training, beside the same with a ray through every pixel.

Objects stand where placement puts them (5 to 45 m in its own distribution, one to three a frame), so that crops are as
large, and as often turned down, as in training. The reference draws every candidate whole before it decides, with a ray
a pixel, and must end in the same labels.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from datamodules.assets.contract import AssetSource, Layer
from datamodules.assets.voxels.voxel_assets import VoxelAsset, steps_per_voxel, voxel_pixels
from datamodules.assets.voxels.voxel_render import render_voxels
from datamodules.augment import resize
from datamodules.geometry import Boxes3D, Camera
from datamodules.images import read_image, write_image
from datamodules.injection.compositing import Compositor
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.kitti.datamodule import KittiDataset
from datamodules.randomness import derive
from datamodules.scene import REAL, Frame
from datamodules.world.road_world import make_frame
from lit.commands.bench.inject import FRAME_HEIGHT, FRAME_WIDTH, BakedCars, baked_cars, quartiles, rounds_of

SIZES = ((FRAME_HEIGHT, FRAME_WIDTH), (96, 320))  # KITTI's, and that of small training
FRAMES = 12
ROUNDS = 5
DEPTH = (5.0, 45.0)  # metres
SHARES = (10, 25, 50, 75, 90)  # percent of the objects that stand nearer, or are lower


class EveryRay(VoxelAsset):
    """A baked car without lattice and sketch: the reference."""

    def render_window(
        self, projection: np.ndarray, left: int, top: int, width: int, height: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cast a ray through every pixel."""
        steps = steps_per_voxel(voxel_pixels(projection, self.grid.shape))
        return render_voxels(self.prepared, projection, left, top, width, height, steps)

    def sketch(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> tuple[Layer, int] | None:
        """None: everything is drawn first."""
        return None


def read_frames(root: str | Path | None, count: int) -> list[Frame]:
    """Frames of a KITTI folder's training split, spread over it, or of the road world at KITTI's size."""
    if root is not None:
        dataset = KittiDataset(root, "train", extras=True)
        chosen = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int))
        return [dataset.read(int(index)) for index in chosen]
    frames = []
    for index in range(count):
        name = f"{index:06d}"
        scene, drawn, objects, instances = make_frame(0, name, "train", FRAME_WIDTH, FRAME_HEIGHT)
        image = np.ascontiguousarray(drawn.image).transpose(2, 0, 1)
        frames.append(Frame(image, scene.camera, objects, name, drawn.road, instances=instances))
    return frames


def injection_of(source: AssetSource) -> Injection:
    """The shipped arms' settings, with objects in every frame."""
    compositor = Compositor(occluders="instances", noise=True)
    return Injection(source, Placement(plane="boxes", depth=DEPTH), compositor, probability=1.0, on_impossible="skip")


def populate(injection: Injection, frames: list[Frame]) -> list[Frame]:
    """The frames with objects in them."""
    return [injection(frame, derive(0, 0, frame.sample_id, "injection")) for frame in frames]


def changed_psnr(before: list[Frame], one: list[Frame], other: list[Frame]) -> float:
    """PSNR in dB between two versions of frames, over the pixels that either changed."""
    squares, count = 0.0, 0
    for plain, a, b in zip(before, one, other, strict=True):
        changed = ((a.image != plain.image) | (b.image != plain.image)).any(0)
        difference = a.image[:, changed].astype(np.float64) - b.image[:, changed]
        squares, count = squares + float(np.square(difference).sum()), count + difference.size
    return float(10 * np.log10(255.0**2 / max(squares / max(count, 1), 1e-9)))


def measure(root: str | Path | None = None) -> dict[str, Any]:
    """Inject into frames at both sizes.

    Args:
        root: a KITTI folder; by default frames of the road world, drawn at KITTI's size.

    Returns:
        For each size, by its height: the ``frame`` (rows x columns), ``injected_ms`` a frame with its ``quartiles``
        over the rounds, ``decode_ms`` of a frame as a PNG and ``injected_over_decode``, ``every_ray_ms`` of the
        reference, their ``ratio``, the ``psnr`` of one against the other over the changed pixels, whether
        ``same_labels`` came out, ``objects`` a frame, and of their distance in metres and their height in pixels the
        :data:`SHARES` (``distance_p10`` ... and ``height_p10`` ...).
    """
    cars, stored = baked_cars(), read_frames(root, FRAMES)
    quick = injection_of(BakedCars(cars))
    reference = injection_of(BakedCars([EveryRay(car.id, car.name, car.dims, car.grid) for car in cars]))
    if root is not None:  # without road masks the training set's labels tell where there is room
        for injection in (quick, reference):
            injection.bind(KittiDataset(root, "train"))
    found: dict[str, Any] = {}
    for height, width in SIZES:
        frames = [frame if frame.camera.height == height else resize(frame, width, height) for frame in stored]
        found |= {f"{name}_{height}": value for name, value in _figures(frames, quick, reference).items()}
    return found


def _figures(frames: list[Frame], quick: Injection, reference: Injection) -> dict[str, Any]:
    ours, theirs = populate(quick, frames), populate(reference, frames)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "frame.png"
        write_image(path, frames[0].image)
        times = rounds_of(
            [
                lambda: [read_image(path) for _ in frames],
                lambda: populate(quick, frames),
                lambda: populate(reference, frames),
            ],
            ROUNDS,
        ) / len(frames)
    decode, fast, slow = (float(value) for value in np.median(times, 0))
    new = [frame.objects[frame.objects.provenance != REAL] for frame in ours]
    distance = np.concatenate([objects.boxes.center[:, 2] for objects in new])
    tall = np.concatenate([objects.bbox[:, 3] - objects.bbox[:, 1] + 1 for objects in new])
    distribution = {
        f"{name}_p{share}": float(np.percentile(values, share)) if len(values) else None
        for name, values in (("distance", distance), ("height", tall))
        for share in SHARES
    }
    return {
        "frame": f"{frames[0].camera.height} x {frames[0].camera.width}",
        "injected_ms": fast,
        "injected_ms_quartiles": quartiles(times[:, 1]),
        "decode_ms": decode,
        "injected_over_decode": fast / decode,
        "every_ray_ms": slow,
        "ratio": slow / fast,
        "psnr": changed_psnr(frames, ours, theirs),
        "same_labels": all(np.array_equal(a.objects.bbox, b.objects.bbox) for a, b in zip(ours, theirs)),
        "objects": len(distance) / len(frames),
        **distribution,
    }
