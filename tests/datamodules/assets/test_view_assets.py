"""ViewAsset: the nearest view lands where the box says, at its depth."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.assets.mesh_assets import MeshAsset
from datamodules.assets.view_assets import ViewAsset
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox
from datamodules.objects.studio import render_views
from datamodules.shapes.meshes import CarMesh, car

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
