from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from datamodules.objects.photos.filling_view import filling_frame
from datamodules.objects.photos.photo import cube_projection
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import DecodedPlanes
from lit.networks.fields.symmetric_field import SymmetricField, seen_side

DIMS = np.array([4.0, 1.5, 1.8])


def plain(count: int) -> DecodedPlanes:
    draw = torch.Generator().manual_seed(0)
    planes = torch.rand(count, 3, 4, 8, 8, generator=draw)
    return DecodedPlanes(planes, lambda features: FieldValues(features[:, :3], features[:, 3]))


def frames(*azimuths: float) -> Tensor:
    return torch.from_numpy(np.stack([filling_frame(DIMS, azimuth, 12.0) for azimuth in azimuths]))


def in_cube(points: Tensor, frame: Tensor) -> Tensor:
    return (points.double() @ frame[:, :3, :3].transpose(1, 2) + frame[:, None, :3, 3]).float()


def test_both_sides_are_one() -> None:
    frame = frames(30.0, 250.0)
    points = torch.rand(2, 40, 3, generator=torch.Generator().manual_seed(1)) * 1.8 - 0.9
    field = SymmetricField(plain(2), frame, torch.tensor([1.0, -1.0]))
    here, there = field(in_cube(points, frame)), field(in_cube(points * torch.tensor([1.0, 1, -1]), frame))
    torch.testing.assert_close(here.density, there.density, atol=2e-6, rtol=0)
    torch.testing.assert_close(here.rgb, there.rgb, atol=2e-6, rtol=0)
    bare = plain(2)
    unlike = bare(in_cube(points, frame)).density - bare(in_cube(points * torch.tensor([1.0, 1, -1]), frame)).density
    assert unlike.abs().max() > 0.05


def test_the_side_that_the_camera_sees_is_looked_up() -> None:
    projection = torch.from_numpy(cube_projection(16)).expand(3, -1, -1)
    frame = frames(90.0, 270.0, 60.0)  # at 90 degrees the camera looks at the object's left side
    side = seen_side(projection, frame)
    outward = torch.stack([part.inverse() @ torch.tensor([0.0, 0, -5, 1], dtype=torch.float64) for part in frame])
    assert side.tolist() == torch.where(outward[:, 2] < 0, -1.0, 1.0).tolist()
    assert side[0] == -side[1] == side[2]
    points = torch.rand(3, 40, 3, generator=torch.Generator().manual_seed(1)) * 1.8 - 0.9
    points[..., 2] = points[..., 2].abs() * side[:, None]
    seen = in_cube(points, frame)
    assert torch.equal(SymmetricField(plain(3), frame, side)(seen).density, plain(3)(seen).density)


def test_a_camera_straight_ahead_takes_one_side() -> None:
    frame = torch.eye(4, dtype=torch.float64)[None]
    projection = torch.from_numpy(cube_projection(16))[None] @ torch.diag(torch.tensor([1.0, 1, 1, 1])).double()
    assert seen_side(projection, frame).tolist() == [-1.0]  # the camera stands at z = -5 of the cube
    turned = frame.clone()
    turned[0, :3, :3] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    assert seen_side(projection, turned).tolist() == [1.0]
