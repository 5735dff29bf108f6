"""ViewAsset: the nearest view lands where the box says, at its depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.mesh_assets import MeshAsset
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.visibility import observation_angles
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox, wrap_angle
from datamodules.injection.placement import Placement
from datamodules.object_classes import CLASSES
from datamodules.objects.studio import render_views, view_projection
from datamodules.randomness import derive
from datamodules.shapes.meshes import CarMesh, car
from tests.datamodules.injection_scenes import road_frame

CAMERA = Camera(np.array([[720.0, 0, 310, 45], [0, 720, 94, 0.2], [0, 0, 1, 0.003]]), 620, 188)


@pytest.fixture(scope="module")
def mesh() -> CarMesh:
    return car("studio", 3)


@pytest.fixture(scope="module")
def asset(mesh: CarMesh) -> ViewAsset:
    views = render_views(mesh, np.arange(0, 360, 15), np.full(24, 5.0), 96)
    return ViewAsset(mesh.id, mesh.name, mesh.dims, views["rgba"], views["depth"], views["projection"])


@pytest.mark.parametrize("yaw", np.arange(8) * np.pi / 4 + 0.1)
@pytest.mark.parametrize("distance", [16.0, 40.0])
def test_view_agrees_with_the_mesh(asset: ViewAsset, mesh: CarMesh, yaw: float, distance: float) -> None:
    box = Boxes3D.single([1.0, 1.65, distance], mesh.dims, yaw)
    layer, truth = asset.render(CAMERA, box), MeshAsset(mesh, "fixed").render(CAMERA, box)
    assert layer is not None
    assert truth is not None
    masks = np.zeros((2, CAMERA.height, CAMERA.width), dtype=bool)
    for canvas, drawn in zip(masks, (layer, truth)):
        canvas[drawn.top : drawn.top + drawn.mask.shape[0], drawn.left : drawn.left + drawn.mask.shape[1]] = drawn.mask
    assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() > 0.8
    corners = box.corners[0][:, 2]
    assert corners.min() - 0.4 < layer.depth[layer.mask].min() <= layer.depth[layer.mask].max() < corners.max() + 0.4
    assert np.abs(layer.full_bbox - projected_bbox(CAMERA, box)[0]).max() < 14


def test_picks_the_view_of_the_same_side(asset: ViewAsset) -> None:
    picked = []
    for yaw in np.arange(24) * 2 * np.pi / 24:
        box = Boxes3D.single([0.0, 1.65, 30.0], asset.dims, yaw)
        picked.append(asset.nearest_view(canonical_projection(CAMERA, box)[0], asset.dims))
    assert len(set(picked)) == 24


def test_truncated_behind_and_far_outside(asset: ViewAsset) -> None:
    box = Boxes3D.single([-5.2, 1.65, 11.0], asset.dims, 0.2)
    full = projected_bbox(CAMERA, box, clip=False)[0]
    assert full[0] < -20
    layer = asset.render(CAMERA, box)
    assert layer is not None
    assert layer.left == 0
    assert layer.full_bbox[0] < -5
    assert asset.render(CAMERA, Boxes3D.single([0, 1.65, -9], asset.dims, 0.0)) is None
    assert asset.render(CAMERA, Boxes3D.single([70, 1.65, 20], asset.dims, 0.0)) is None


@pytest.fixture(scope="module")
def front(asset: ViewAsset) -> ViewAsset:
    """The asset with the view of its front alone."""
    return ViewAsset("front", asset.name, asset.dims, asset.rgba[:1], asset.depth[:1], asset.projection[:1])


def test_arrays_that_do_not_belong_together_are_refused(asset: ViewAsset) -> None:
    for changes in (
        {"rgba": np.asarray(asset.rgba, np.float32)},
        {"depth": asset.depth[:-1]},
        {"projection": asset.projection[:, :2]},
        {"rgba": asset.rgba[:0], "depth": asset.depth[:0], "projection": asset.projection[:0]},
    ):
        with pytest.raises(InputError, match=r"expected uint8 rgba \(V, S, S, 4\)"):
            replace(asset, **changes)


def test_directions_without_a_view_near_are_refused(front: ViewAsset) -> None:
    """One view serves 15 degrees to both sides; it is not drawn for the others, least of all mirrored."""
    for off in np.radians([-170, -90, -60, -16, -14, 0, 14, 16, 60, 90, 170]):
        box = Boxes3D.single([0.0, 1.65, 30.0], front.dims, np.pi / 2 + off)
        allowed = bool(front.visibility.allows([CAMERA], box)[0])
        assert allowed == (abs(np.degrees(off)) < 15)
        if allowed:
            assert front.render(CAMERA, box) is not None
        else:
            with pytest.raises(InputError, match=r"front from alpha .* one of 1 views within 15") as caught:
                front.render(CAMERA, box)
            assert "\n" not in str(caught.value)
    outside = Boxes3D.single([70, 1.65, 20], front.dims, 0.0)
    assert front.render(CAMERA, outside) is None  # nothing to draw, nothing to refuse
    above = Camera(
        CAMERA.projection @ np.array([[1, 0, 0, 0], [0, 0.7, -0.7, 14], [0, 0.7, 0.7, 8], [0, 0, 0, 1.0]]), 620, 188
    )
    assert not front.visibility.allows([above], Boxes3D.single([0.0, 1.65, 20.0], front.dims, np.pi / 2))[0]


def test_a_wider_limit_is_an_option(front: ViewAsset) -> None:
    box = Boxes3D.single([0.0, 1.65, 30.0], front.dims, np.pi / 2 + 0.6)
    assert replace(front, max_angle=40.0).render(CAMERA, box) is not None
    with pytest.raises(InputError, match="would be mirrored"):
        replace(front, max_angle=180.0).render(CAMERA, Boxes3D.single([0.0, 1.65, 30.0], front.dims, -np.pi / 2))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(CLASSES)), st.floats(0, 360), st.floats(-15, 15), st.floats(0, 14), st.floats(6, 40))
def test_no_class_is_mirrored_within_the_default_limit(
    name: str, azimuth: float, off: float, elevation: float, distance: float
) -> None:
    dims = np.array(CLASSES[name].dims)
    view = view_projection(dims, azimuth, elevation, 16)[None]
    asset = ViewAsset(name, name, dims, np.full((1, 16, 16, 4), 255, np.uint8), np.ones((1, 16, 16), np.float16), view)
    yaw = asset.angles[0][0] + np.radians(off)
    box = Boxes3D.single([0.0, 1.65, distance + dims[0] / 2], dims, yaw)
    if asset.visibility.allows([CAMERA], box)[0]:
        assert asset.render(CAMERA, box) is not None  # a warp that mirrors is refused with an error


def test_placement_keeps_to_the_views(asset: ViewAsset, front: ViewAsset) -> None:
    """With gaps between its views, an asset is put only where one is near; without, draws are as for any other."""
    placement, frame = Placement(uniform_yaw_share=1.0, depth=(6, 40)), road_frame()
    site = placement.survey(frame)
    mesh = MeshAsset(car("studio", 3), "fixed")
    found = 0
    for seed in range(60):
        box = placement.place(site, front, Boxes3D.empty(), derive(seed))
        if box is not None:
            found += 1
            alpha = observation_angles(canonical_projection(frame.camera, box), box.dims)[0]
            assert abs(wrap_angle(alpha - np.pi / 2)[0]) <= np.radians(15)
            front.render(frame.camera, box)
        all_round, free = (placement.place(site, a, Boxes3D.empty(), derive(seed)) for a in (asset, mesh))
        assert (all_round is None) == (free is None)
        if all_round is not None and free is not None:
            np.testing.assert_array_equal(all_round.center, free.center)
    assert found > 50
