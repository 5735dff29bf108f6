"""The projection of one box through a small camera with all twelve entries."""

from __future__ import annotations

import numpy as np
import torch

from datamodules.geometry import Boxes3D, Camera, canonical_projection

INTRINSICS = np.array([[80.0, 0, 31.5, 4.5], [0, 80.0, 15.5, 0.2], [0, 0, 1, 0.003]])


def box_projection(yaw: float = 0.4, depth: float = 10.0) -> torch.Tensor:
    box = Boxes3D.single(np.array([0.5, 1.6, depth]), np.array([4.0, 1.5, 1.7]), yaw)
    return torch.from_numpy(canonical_projection(Camera(INTRINSICS, 64, 32), box)[0])
