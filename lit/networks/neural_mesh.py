"""A cuboid whose vertices carry features, and its picture: NeMo's neural mesh, rendered without a rasteriser.

A cuboid is convex, so a pixel sees the point where its ray enters it; there the features of the four vertices about
the point are blended bilinearly. The blend's weights are smooth in the pose, which render-and-compare descends along.

Source: Wang, Kortylewski and Yuille, "NeMo: Neural Mesh Models of Contrastive Features for Robust 3D Pose Estimation",
ICLR 2021 (single cuboids). Frames: object x forward, y down, z to its left; camera x right, y down, z forward. Lengths
are in longest sides of the object, whose middle the camera looks at.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detectors.precision import full_precision

OTHERS = ((1, 2), (0, 2), (0, 1))  # the axes that a face of each axis spans
LEVEL = 1e-9  # a ray's step along an axis, at least: a ray within a face's plane divides by it


class Cuboid(NamedTuple):
    """Vertices on the faces of the cube [-1, 1]^3, evenly spaced, those on edges and corners shared.

    Attributes:
        vertices: (V, 3) float32.
        faces: (6, N, N) int64 vertices of each face, over its axes in order: -x, +x, -y, +y, -z, +z.
    """

    vertices: Tensor
    faces: Tensor

    @staticmethod
    def build(side: int) -> Cuboid:
        """``side`` vertices along each edge, side^3 - (side - 2)^3 in all."""
        grid = torch.cartesian_prod(*[torch.arange(side)] * 3)
        outside = ((grid == 0) | (grid == side - 1)).any(1)
        number = torch.full((side**3,), -1)
        number[outside] = torch.arange(int(outside.sum()))
        lattice = number.reshape(side, side, side)
        faces = [lattice.select(axis, end) for axis in range(3) for end in (0, side - 1)]
        return Cuboid(grid[outside] / (side - 1) * 2 - 1, torch.stack(faces))


def cell_rays(cells: int, field_of_view: Tensor) -> Tensor:
    """(P, 3) rays through the middles of a square map's cells, rows first, in the camera frame, z = 1.

    Args:
        cells: a side.
        field_of_view: () radians, of the whole picture.
    """
    place = ((torch.arange(cells, device=field_of_view.device) + 0.5) / cells * 2 - 1) * torch.tan(field_of_view / 2)
    v, u = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], -1).reshape(-1, 3)


def eye_of(half: Tensor, rotation: Tensor, distance: Tensor) -> Tensor:
    """(B, 3) the camera's place in the cube's frame; arguments as :func:`seen_surface`."""
    return -distance[:, None] * rotation[:, 2] / half


def seen_surface(
    cuboid: Cuboid, half: Tensor, rotation: Tensor, distance: Tensor, rays: Tensor
) -> tuple[Tensor, Tensor]:
    """Where rays enter cuboids: (B, P, 4) int64 vertices about the point, and (B, P, 4) their weights.

    Weights are bilinear, sum to 1, and are all 0 where a ray misses.

    Args:
        cuboid: its vertices.
        half: (B, 3) half its length, height and width.
        rotation: (B, 3, 3) from object to camera.
        distance: (B,) of its middle, straight ahead.
        rays: (P, 3) in the camera frame.
    """
    eye = eye_of(half, rotation, distance)[:, None]
    with full_precision(rays.device):
        step = (rays @ rotation) / half[:, None]
    step = torch.where(step.abs() < LEVEL, torch.full_like(step, LEVEL), step)
    first, second = (-1 - eye) / step, (1 - eye) / step
    entry, axis = torch.minimum(first, second).max(-1)
    hit = (entry < torch.maximum(first, second).amin(-1)) & (entry > 0)
    point = eye + entry[..., None] * step
    beyond = point.gather(-1, axis[..., None])[..., 0] > 0
    others = torch.tensor(OTHERS, device=axis.device)[axis]
    side = cuboid.faces.shape[-1]
    place = ((point.gather(-1, others) + 1) / 2 * (side - 1)).clamp(0, side - 1)
    cell = place.detach().floor().clamp(max=side - 2)
    (down, right), cell = (place - cell).unbind(-1), cell.long()
    first_corner = ((2 * axis + beyond) * side + cell[..., 0]) * side + cell[..., 1]
    corners = first_corner[..., None] + torch.tensor([0, 1, side, side + 1], device=axis.device)
    weights = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], -1)
    return cuboid.faces.reshape(-1)[corners], weights * hit[..., None]


def render_cuboid(
    cuboid: Cuboid, features: Tensor, half: Tensor, rotation: Tensor, distance: Tensor, rays: Tensor
) -> Tensor:
    """(B, P, D) what rays see of the vertices' features (B, V, D), 0 where one misses; else as :func:`seen_surface`."""
    corners, weights = seen_surface(cuboid, half, rotation, distance, rays)
    blended, width = torch.zeros((), dtype=features.dtype, device=features.device), features.shape[-1]
    for corner, weight in zip(corners.unbind(-1), weights.unbind(-1)):
        blended = blended + weight[..., None] * features.gather(1, corner[..., None].expand(-1, -1, width))
    return blended


def seen_vertices(
    cuboid: Cuboid, half: Tensor, rotation: Tensor, distance: Tensor, field_of_view: Tensor
) -> tuple[Tensor, Tensor]:
    """Where vertices stand in the picture (B, V, 2), -1 to 1 from border to border, and whether they are seen (B, V).

    A vertex is seen when one of its faces looks at the camera: nothing of a convex body hides another part of such a
    face. Arguments as :func:`seen_surface`.
    """
    eye = eye_of(half, rotation, distance)[:, None]
    facing = ((cuboid.vertices.abs() > 1 - 1e-6) & (cuboid.vertices * eye > 1)).any(-1)
    with full_precision(rotation.device):
        points = (cuboid.vertices * half[:, None]) @ rotation.transpose(1, 2)
    depth = points[..., 2:] + distance[:, None, None]
    places = points[..., :2] / depth.clamp_min(1e-6) / torch.tan(field_of_view / 2)
    return places, facing & (depth[..., 0] > 0) & (places.abs() < 1).all(-1)


def sampled_features(features: Tensor, places: Tensor) -> Tensor:
    """(B, V, D) unit features of maps (B, D, M, M) at places (B, V, 2), -1 to 1 from border to border."""
    found = F.grid_sample(features, places[:, :, None], mode="bilinear", padding_mode="border", align_corners=False)
    return F.normalize(found[..., 0].transpose(1, 2), dim=-1)


class FeatureHead(nn.Module):
    """All maps of a backbone at the finest one's cells, as unit features.

    Args:
        channels: of the maps, finest first.
        width: of the features.
        hidden: channels between.
    """

    def __init__(self, channels: list[int], width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(sum(channels), hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, width, 3, padding=1),
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, width, M, M) of maps whose first is (B, C, M, M)."""
        size = maps[0].shape[-2:]
        wide = [F.interpolate(part, size, mode="bilinear", align_corners=False) for part in maps[1:]]
        return F.normalize(self.layers(torch.cat([maps[0], *wide], 1)), dim=1)
