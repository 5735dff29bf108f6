from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules.objects.photos.photo import cube_projection
from datamodules.objects.photos.posed_photo import place_in_cube
from datamodules.objects.studio import view_projection
from lit.rendering.orbited_projections import orbited, within

ANGLE = st.floats(-3, 3)


@given(ANGLE, ANGLE)
def test_a_camera_goes_around_the_middle_at_its_distance(yaw: float, pitch: float) -> None:
    projection = torch.from_numpy(cube_projection(64))[None]
    turned = orbited(projection, torch.tensor([yaw]), torch.tensor([pitch]))[0].numpy()
    centre = turned[:, 3] / turned[2, 3]
    np.testing.assert_allclose(centre, [31.5, 31.5, 1], atol=1e-9)  # the middle stays in the middle
    position = -np.linalg.solve(turned[:, :3], turned[:, 3])
    assert abs(np.linalg.norm(position) - 5) < 1e-9
    same = orbited(projection, torch.zeros(1), torch.zeros(1))
    torch.testing.assert_close(same, projection.double())


def test_a_positive_yaw_brings_the_far_side_from_the_left() -> None:
    """Turning the cube about the down axis by +yaw moves what lies behind (z = 1) to the right."""
    turned = orbited(torch.from_numpy(cube_projection(64))[None], torch.tensor([0.5]), torch.zeros(1))[0]
    behind = turned @ torch.tensor([0.0, 0, 1, 1], dtype=torch.float64)
    assert behind[0] / behind[2] > 31.5


@given(st.floats(0, 360), st.floats(-10, 60), st.floats(0, 360))
def test_other_views_of_an_object_are_orbits_of_its_photograph(azimuth: float, elevation: float, other: float) -> None:
    """A box's corner lands where its own projection says, also by way of the photograph's cube."""
    dims = np.array([4.1, 1.5, 1.7])
    photo, truth = (view_projection(dims, a, elevation, 64) for a in (azimuth, other))
    projection, frame, half = place_in_cube(photo, dims)
    corner = np.array([1.0, -1, 1, 1])
    for direct, around, unit in (
        (photo, projection @ frame, half),
        (truth, within(torch.from_numpy(truth), torch.from_numpy(frame)).numpy() @ frame, 1.0),
    ):
        wanted, found = direct @ corner, around @ corner
        np.testing.assert_allclose(found[:2] / found[2], wanted[:2] / wanted[2], atol=1e-6)
        np.testing.assert_allclose(found[2] * unit, wanted[2], rtol=1e-9)
    assert np.abs((frame @ np.array([*np.sign(corner[:3]), 1]))[:3]).max() <= 1 + 1e-9
