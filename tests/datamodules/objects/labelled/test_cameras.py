"""Camera labels against the projections they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.errors import InputError
from datamodules.objects.labelled.cameras import camera_label, check_cameras, turned_about_upright
from datamodules.objects.studio import view_projection

SIZE = 64


@settings(deadline=None, max_examples=50)
@given(
    azimuth=st.floats(0, 360),
    elevation=st.floats(-10, 80),
    length=st.floats(2, 6),
    scale=st.floats(0.05, 1),
    point=st.tuples(*[st.floats(-1, 1)] * 3),
)
def test_a_label_projects_where_the_view_does(
    azimuth: float, elevation: float, length: float, scale: float, point: tuple[float, float, float]
) -> None:
    dims = np.array([length, 1.5, 1.8])
    projection = view_projection(dims, azimuth, elevation, SIZE)
    label = camera_label(projection, dims, scale, SIZE)
    pose, intrinsics = label[:16].reshape(4, 4), label[16:].reshape(3, 3)
    u, v, depth = projection @ [*point, 1.0]
    world = np.array(point) * dims / 2 * scale * [1, -1, -1]
    seen = intrinsics @ (np.linalg.inv(pose) @ [*world, 1.0])[:3]
    assert seen[2] == pytest.approx(depth * scale, rel=1e-6)
    assert seen[:2] / seen[2] * SIZE - 0.5 == pytest.approx([u / depth, v / depth], abs=1e-5)
    assert check_cameras([label.tolist()], ["a"], "x").shape == (1, 25)


@pytest.mark.parametrize("azimuth", [0, 90, 180, 270])
def test_a_level_camera_along_an_axis(azimuth: float) -> None:
    dims = np.array([4.0, 1.5, 1.8])
    label = camera_label(view_projection(dims, azimuth, 0.0, SIZE), dims, 0.25, SIZE)
    pose, intrinsics = label[:16].reshape(4, 4), label[16:].reshape(3, 3)
    assert pose[:3, 1] == pytest.approx([0, -1, 0])  # y down in a world with y up
    assert pose[:3, 2] == pytest.approx(-pose[:3, 3] / np.linalg.norm(pose[:3, 3]))  # looks at the middle
    assert intrinsics[:2, 2] == pytest.approx([0.5, 0.5])
    assert intrinsics[0, 0] > 0
    if azimuth == 0:  # in front of the car, which is x
        assert pose[0, 3] > 0


def changed(place: int | slice, value: float | np.ndarray) -> list[float]:
    dims = np.array([4.0, 1.5, 1.8])
    label = camera_label(view_projection(dims, 30.0, 10.0, SIZE), dims, 0.25, SIZE)
    label[place] = value
    return label.tolist()


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (changed(0, 0.0)[:24], "has 24 numbers, expected 25"),
        (changed(0, 3.0), "off unit length or right angles by"),
        (changed(slice(0, 16), np.diag([-1.0, 1, 1, 1]).ravel()), "determinant -1, expected 1"),
        (changed(12, 1.0), "last row differs from 0 0 0 1 by 1"),
        (changed(slice(16, 25), np.array([109.0, 0, 32, 0, 109, 32, 0, 0, 1])), "principal point is 32"),
        (changed(16, -1.7), "focal length is -1.7"),
        (changed(24, 0.0), "upper triangle with 1 at the end"),
        (
            changed(slice(0, 16), np.array([1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1])),
            "look away from the origin",
        ),
    ],
)
def test_what_is_no_camera_is_refused_in_one_line(label: list[float], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check_cameras([label], ["car0/3"], "set.zip/dataset.json")
    assert str(caught.value).startswith("set.zip/dataset.json: ")
    assert "\n" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(azimuth=st.floats(0, 360), elevation=st.floats(-10, 40), first=st.floats(-3, 3), second=st.floats(-3, 3))
def test_turns_about_the_upright_axis_add_up(azimuth: float, elevation: float, first: float, second: float) -> None:
    """The same view as from another azimuth: where the camera stands, what it looks at, and at which angle."""
    dims = np.array([4.0, 1.5, 1.7])

    def label(degrees: float) -> torch.Tensor:
        projection = view_projection(dims, degrees, elevation, 64, 2 * np.arctan(0.5 / 1.7), 8.0)
        return torch.from_numpy(camera_label(projection, dims, 0.2, 64)[None])

    turned = turned_about_upright(turned_about_upright(label(azimuth), [first]), [second])
    either = [label(azimuth + sign * np.rad2deg(first + second)) for sign in (1, -1)]
    assert min(float((turned - other).abs().max()) for other in either) < 1e-6
    assert torch.equal(turned_about_upright(label(azimuth), [0.0]), label(azimuth))
