from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import (
    EG3D_AXES,
    EG3D_CORRECTED_AXES,
    PLANE_AXES,
    Axes,
    DecodedPlanes,
    lookup,
    plane_levels,
)


def test_lookup_takes_each_plane_along_its_axes() -> None:
    size = 16
    ramp = (2 * torch.arange(size) + 1) / size - 1
    planes = torch.zeros(1, 3, 2, size, size)
    planes[:, :, 0] = ramp[None, :]  # columns: first axis of the plane
    planes[:, :, 1] = ramp[:, None]  # rows: second
    point = torch.tensor([[[0.5, -0.25, 0.125]]])
    features = lookup(planes, point, "sum")[0, :, 0]
    assert torch.allclose(features, torch.tensor([0.5 + 0.5 - 0.25, -0.25 + 0.125 + 0.125]), atol=1e-5)
    assert torch.allclose(lookup(planes, point)[0, :, 0], features / 3)


@pytest.mark.parametrize("axes", [PLANE_AXES, EG3D_AXES, EG3D_CORRECTED_AXES])
def test_axes_are_those_that_projection_onto_the_planes_gives(axes: Axes) -> None:
    """EG3D states a plane by three axes, the inverse of which brings points to it; the first two are looked up."""
    third = {PLANE_AXES: [[0, 1, 0], [0, 0, 1], [1, 0, 0]], EG3D_AXES: [[0, 0, 1], [1, 0, 0], [0, 1, 0]]}
    frames = [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]]
    frames.append(third.get(axes, [[0, 0, 1], [0, 1, 0], [1, 0, 0]]))
    planes, points = torch.randn(2, 3, 4, 8, 8), torch.rand(2, 50, 3) * 2 - 1
    wanted = torch.zeros(2, 4, 50)
    for plane, frame in zip(planes.unbind(1), frames):
        places = (points @ torch.linalg.inv(torch.tensor(frame, dtype=torch.float32)))[..., :2]
        wanted += F.grid_sample(plane, places[:, None], align_corners=False)[:, :, 0]
    assert torch.allclose(lookup(planes, points, "sum", axes), wanted, atol=1e-5)


def test_levels_add_up_and_a_box_scales_points() -> None:
    planes, points = torch.randn(2, 3, 4, 16, 16), torch.rand(2, 50, 3) * 2 - 1
    levels = plane_levels(planes)
    assert [level.shape[-1] for level in levels] == [16, 8, 4]
    single = torch.stack([lookup(level, points) for level in levels])
    assert torch.allclose(lookup(levels, points), single.sum(0), atol=1e-5)
    assert torch.allclose(lookup(planes, points * 0.8, box=1.6), lookup(planes, points), atol=1e-5)
    assert torch.allclose(plane_levels(torch.ones(1, 3, 1, 8, 8), 2)[1], torch.ones(1, 3, 1, 4, 4))


@pytest.mark.parametrize("axes", [PLANE_AXES, EG3D_AXES, EG3D_CORRECTED_AXES])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_grid_features_equal_lookups_at_the_grid_points(axes: Axes, reduce: str) -> None:
    def decode(features: Tensor) -> FieldValues:
        return FieldValues(features, features[:, 0])

    field = DecodedPlanes(plane_levels(torch.randn(1, 3, 4, 16, 16), 2), decode, reduce, axes, box=1.8)
    places = [torch.linspace(-0.85, 0.8, count) for count in (12, 5, 7)]
    points = torch.stack(torch.meshgrid(*places, indexing="ij"), -1).view(1, -1, 3)
    assert torch.allclose(field.grid_features(places).flatten(1), field(points).rgb[0], atol=1e-5)
