"""The scene contract: what every reader yields, every augmentation maps, and every detector receives.

All values are frozen. Worker-side data are NumPy arrays; :class:`Batch` holds torch tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from datamodules.geometry import Boxes3D, Camera, Columns
from datamodules.light import Light
from datamodules.surround import Surround

REAL = "real"


@dataclass(frozen=True)
class Objects(Columns):
    """Annotated (or predicted) objects of one frame, as parallel arrays; the columns of a KITTI label row.

    Attributes:
        boxes: N boxes in the camera frame.
        names: (N,) str array of class names in the data set's spelling ("Car", "Van", "DontCare").
        bbox: (N, 4) float64 left, top, right, bottom in pixels.
        truncation: (N,) float64 in [0, 1]; -1 where unknown.
        occlusion: (N,) int64 0 visible, 1 partly, 2 largely, 3 unknown; -1 where not given.
        alpha: (N,) float64 observation angle as annotated; -10 where not given.
        score: (N,) float64 for predictions, None for labels.
        provenance: (N,) str array, "real" or the id of the injected asset.
        velocity: (N, 2) float64 m/s along the camera's x and z, NaN where unknown; None where the data set has none.
        attribute: (N,) str array ("vehicle.parked"), "" where not given; None where the data set has none.
    """

    boxes: Boxes3D
    names: np.ndarray
    bbox: np.ndarray
    truncation: np.ndarray
    occlusion: np.ndarray
    alpha: np.ndarray
    score: np.ndarray | None = None
    provenance: np.ndarray = field(default=None)  # type: ignore[arg-type]  # filled below: all real
    velocity: np.ndarray | None = None
    attribute: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.provenance is None:
            object.__setattr__(self, "provenance", np.full(len(self.boxes), REAL, dtype=object).astype(str))

    @staticmethod
    def empty() -> Objects:
        zero = np.zeros(0)
        return Objects(Boxes3D.empty(), np.zeros(0, dtype=str), np.zeros((0, 4)), zero, np.zeros(0, np.int64), zero)


@dataclass(frozen=True)
class Capture:
    """Which picture of a recording with several cameras a frame is.

    Attributes:
        sample: token of the moment that all its cameras share.
        scene: name of the recording.
        channel: name of the camera, such as "CAM_FRONT".
        world: (4, 4) float64 frame of the camera's boxes to the global frame, metres.
    """

    sample: str
    scene: str
    channel: str
    world: np.ndarray


@dataclass(frozen=True)
class Frame:
    """One image with its camera and objects.

    Attributes:
        image: (3, H, W) uint8 RGB; preferably a transposed view on (H, W, 3) memory, which is what codecs produce.
        camera: the camera of exactly this image.
        objects: annotated objects, injected ones included.
        sample_id: the data set's own id ("000042").
        road: (H, W) bool drivable area, or None when unknown.
        plane: (4,) float64 ground plane a, b, c, d with a x + b y + c z + d = 0 and b < 0 (normal up), or None.
        depth: (H, W) float32 metres, 0 where unknown, or None; only synthetic worlds have it.
        instances: (H, W) uint8 1 + row of ``objects`` that covers the pixel, 0 elsewhere, or None.
        light: sun (in the camera frame) and sky, or None; only synthetic worlds know them.
        capture: where the picture belongs among those of other cameras and times, or None for single pictures.
        surround: what lies around the car at that time and others, for injection, or None.
    """

    image: np.ndarray
    camera: Camera
    objects: Objects
    sample_id: str
    road: np.ndarray | None = None
    plane: np.ndarray | None = None
    depth: np.ndarray | None = None
    instances: np.ndarray | None = None
    light: Light | None = None
    capture: Capture | None = None
    surround: Surround | None = None

    def with_(self, **changes: Any) -> Frame:
        """A copy with some fields replaced."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Batch:
    """Frames of one size, stacked for the device.

    Attributes:
        images: (B, 3, H, W) uint8 RGB in channels-last memory; normalisation happens on the device.
        projections: (B, 3, 4) float32.
        objects: per frame its objects (host memory).
        cameras: per frame its camera (host memory).
        sample_ids: per frame its id.
        captures: per frame where it belongs among other cameras' pictures; none for single pictures; host memory.
    """

    images: torch.Tensor
    projections: torch.Tensor
    objects: tuple[Objects, ...]
    cameras: tuple[Camera, ...]
    sample_ids: tuple[str, ...]
    captures: tuple[Capture, ...] = ()

    def __len__(self) -> int:
        return len(self.sample_ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Move the tensors; Lightning calls this."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            projections=self.projections.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Batch:
        """Pin the tensors; ``DataLoader`` calls this."""
        return replace(self, images=self.images.pin_memory(), projections=self.projections.pin_memory())


def collate(frames: Sequence[Frame]) -> Batch:
    """Stack frames of one size into a :class:`Batch`."""
    images = torch.from_numpy(np.stack([f.image.transpose(1, 2, 0) for f in frames])).permute(0, 3, 1, 2)
    projections = torch.from_numpy(np.stack([f.camera.projection for f in frames]).astype(np.float32))
    return Batch(
        images,
        projections,
        tuple(f.objects for f in frames),
        tuple(f.camera for f in frames),
        tuple(f.sample_id for f in frames),
        tuple(f.capture for f in frames if f.capture is not None),
    )
