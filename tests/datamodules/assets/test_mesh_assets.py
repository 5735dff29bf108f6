"""Mesh assets: geometry, light, fixed style, CAD folders."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import trimesh

from datamodules.assets.contract import Asset, AssetSource
from datamodules.assets.mesh_assets import FIXED_PAINT, PAINT, MeshSource
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, projected_bbox, rotation_y
from datamodules.light import Light
from datamodules.randomness import derive
from datamodules.scene import Frame, Objects

CAMERA = Camera(np.array([[720.0, 0, 310, 45], [0, 720, 94, 0.2], [0, 0, 1, 0.003]]), 620, 188)


def frame(light: Light | None = None) -> Frame:
    return Frame(np.zeros((3, 188, 620), np.uint8), CAMERA, Objects.empty(), "0", light=light)


@pytest.mark.parametrize("yaw", [0.0, 0.8, -1.5])
def test_fills_its_box(yaw: float) -> None:
    source = MeshSource(models=5)
    assert isinstance(source, AssetSource)
    asset = source.sample(derive(0), frame())
    assert isinstance(asset, Asset)
    assert asset.id.startswith("studio-")
    box = Boxes3D.single([0.5, 1.65, 16], asset.dims, yaw)
    layer = asset.render(CAMERA, box, frame())
    assert layer is not None
    assert np.abs(layer.full_bbox - projected_bbox(CAMERA, box)[0]).max() < 15  # rounded corners
    corners = box.corners[0][:, 2]
    assert corners.min() - 0.01 < layer.depth[layer.mask].min()
    assert layer.depth[layer.mask].max() < corners.max() + 0.01


def test_light_follows_the_frame_only_when_asked() -> None:
    box = Boxes3D.single([0.5, 1.65, 12], [4, 1.5, 1.7], 0.7)
    behind, ahead = np.array([0.0, -0.5, -0.87]), np.array([0.0, -0.5, 0.87])

    def brightness(light: Literal["frame", "fixed"], sun: np.ndarray) -> float:
        known = frame(Light(sun, ambient=0.4))
        layer = MeshSource(light=light, models=1)[0].render(CAMERA, box, known)
        assert layer is not None
        return float(layer.rgba[layer.mask][:, :3].mean())

    assert brightness("frame", behind) > 1.1 * brightness("frame", ahead)
    assert brightness("fixed", behind) == brightness("fixed", ahead)


def test_sun_stays_still_when_the_car_turns() -> None:
    """A roof seen at opposite yaws is equally bright: the sun is turned into the object's frame."""
    asset, sun = MeshSource(models=1)[0], np.array([0.6, -0.7, -0.39])
    sides = []
    for yaw in (0.3, 0.3 + np.pi):
        box = Boxes3D.single([0, 1.65, 12], asset.dims, yaw)
        turned = asset._light(box, frame(Light(sun)))[0]
        np.testing.assert_allclose(rotation_y(np.array(yaw)) @ turned, sun, atol=1e-12)
        sides.append(turned)
    np.testing.assert_allclose(sides[0][1], sides[1][1])


def test_fixed_style_is_one_paint_over_twenty_models() -> None:
    source = MeshSource(style="fixed", light="fixed")
    assert len(source) == 20
    for index in (0, 7):
        surface = source[index].mesh.mesh
        np.testing.assert_allclose(surface.colour[surface.part == PAINT], [FIXED_PAINT] * (surface.part == PAINT).sum())
    own = MeshSource()[0].mesh.mesh
    assert not np.allclose(own.colour[own.part == PAINT][0], FIXED_PAINT)


def test_street_paints_are_on_the_same_bodies() -> None:
    own, street = MeshSource(models=3)[2].mesh.mesh, MeshSource(models=3, paints="street")[2].mesh.mesh
    np.testing.assert_array_equal(own.triangles, street.triangles)
    assert not np.allclose(own.colour[own.part == PAINT], street.colour[own.part == PAINT])


def test_cad_folder(tmp_path: Path) -> None:
    for number, length in enumerate((3.0, 4.0)):
        trimesh.creation.box((length, 1.7, 1.4)).export(tmp_path / f"car{number}.obj")
    source = MeshSource(folder=str(tmp_path), style="fixed", light="fixed")
    assert len(source) == 2
    np.testing.assert_allclose(source[1].dims, [4.0, 1.4, 1.7], atol=1e-6)
    layer = source[1].render(CAMERA, Boxes3D.single([0, 1.65, 12], source[1].dims, 0.4))
    assert layer is not None
    assert layer.mask.any()


def test_bad_sources_are_one_line_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        MeshSource(folder=str(tmp_path / "none"))
    with pytest.raises(InputError, match="no CAD file"):
        MeshSource(folder=str(tmp_path))
    with pytest.raises(InputError, match="at least 1"):
        MeshSource(models=0)
    with pytest.raises(InputError, match="paints 'matt'"):
        MeshSource(paints="matt")  # type: ignore[arg-type]
