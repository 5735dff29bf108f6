"""Renders on disk: annotations agree with the pictures, runs can be repeated and stopped, workers change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.geometry import CORNER_SIGNS, canonical_projection, projected_bbox, rotation_y
from datamodules.renders.cad_models import CadModel, find_models
from datamodules.renders.model_meshes import studio_models
from datamodules.renders.render_set import Render, RenderSet
from datamodules.renders.render_writer import RenderSettings, _mesh, view_counts, write_renders
from tests.datamodules.renders.cad_folders import marked_block, write_objaverse

SMALL = RenderSettings(size=48, views=3, mode=3, supersample=2)


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> RenderSet:
    models = studio_models(["car", "pedestrian"], 1)
    return write_renders(tmp_path_factory.mktemp("renders") / "set", models, SMALL)


def test_annotations_agree_with_the_pictures(renders: RenderSet) -> None:
    assert len(renders) == 6
    for render in renders:
        found = render.annotation
        rgba, depth, normals = render.rgba, render.depth, render.normals
        solid = rgba[..., 3] == 255
        assert 0.005 < solid.mean() < 0.5
        tight, amodal, box = (np.array(b) for b in (found.bbox2D_tight, found.bbox2D_amodal, found.bbox2D_proj))
        assert (np.abs(tight - amodal) < 2).all()
        assert (box[:2] <= amodal[:2] + 1e-6).all()
        assert (box[2:] >= amodal[2:] - 1e-6).all()
        # Unprojected depth lies inside the 3D box.
        v, u = np.nonzero(solid)
        points = np.linalg.inv(np.array(found.projection)[:, :3]) @ (
            np.stack([u, v, np.ones(len(u))]) * depth[solid] - np.array(found.projection)[:, 3:]
        )
        assert np.abs(points).max() < 1.1
        assert (normals[solid][:, 2] < 0.3).all()  # towards the camera
        np.testing.assert_allclose(np.linalg.norm(normals[solid], axis=-1), 1, atol=1e-3)


def test_the_box_is_the_same_in_all_its_forms(renders: RenderSet) -> None:
    for render in renders:
        found = render.annotation
        rotation, dims = np.array(found.R_cam), np.array(found.dims)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)
        corners = (CORNER_SIGNS * dims / 2) @ rotation.T + found.center_cam
        np.testing.assert_allclose(corners, found.bbox3D_cam, atol=1e-9)
        camera, box = found.level_camera, found.level_box
        np.testing.assert_allclose(canonical_projection(camera, box)[0], found.projection, atol=1e-8)
        np.testing.assert_allclose(projected_bbox(camera, box, clip=False)[0], found.bbox2D_proj, atol=1e-6)
        np.testing.assert_allclose(camera.pinhole()[1] @ rotation_y(found.level_yaw), rotation, atol=1e-9)
        assert found.distance == pytest.approx(2.2 * dims.max())


@pytest.mark.parametrize(("azimuth", "red", "blue"), [(0, True, False), (90, True, True), (180, False, False)])
def test_the_named_sides_are_seen(azimuth: int, red: bool, blue: bool, tmp_path: Path) -> None:
    """Red is the front third, blue the left flank; seen from its left the front is on the picture's left."""
    from datamodules.light import Light
    from datamodules.objects.studio import render_view, view_projection
    from datamodules.renders.model_meshes import load_model

    marked_block("-z", "y").export(tmp_path / "block.ply")
    mesh = load_model(CadModel("car", "b", "car", tmp_path / "block.ply"), "shapenet")
    seen = render_view(mesh, view_projection(mesh.dims, azimuth, 0.0, 32, 9.0, 0.85), 32, Light(ambient=1.0), 1)
    rgb = seen["rgba"][..., :3].astype(int) * (seen["rgba"][..., 3:] > 0)
    is_red, is_blue = (rgb[..., c] > 1.6 * rgb[..., 2 - c] + 20 for c in (0, 2))
    assert (is_red.sum() > 5) == red
    assert (is_blue.sum() > 15) == blue  # from behind, its edge
    if azimuth == 90:
        assert np.nonzero(is_red)[1].mean() < np.nonzero(is_blue)[1].mean()


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_two_processes_write_what_one_writes(renders: RenderSet, tmp_path: Path) -> None:
    write_renders(tmp_path / "set", studio_models(["car", "pedestrian"], 1), SMALL, workers=2)
    assert content(tmp_path / "set") == content(renders.root)


def test_a_stopped_run_goes_on_and_repairs_what_is_damaged(tmp_path: Path) -> None:
    models = studio_models(["bicycle"], 1)
    write_renders(tmp_path / "set", models, SMALL)
    before = content(tmp_path / "set")
    folder = tmp_path / "set" / "bicycle" / "000000"
    kept = (folder / "image_render" / "000.png").stat().st_mtime_ns
    (folder / "annotation" / "001.json").unlink()
    half = folder / "image_render" / "002.png"
    half.write_bytes(half.read_bytes()[:100])
    with pytest.raises(InputError, match=r"002.png: differs from what its annotation says, half-written"):
        _ = Render(folder, 2).rgba
    (tmp_path / "set" / "renders.json").unlink()
    write_renders(tmp_path / "set", models, SMALL)
    assert content(tmp_path / "set") == before
    assert (folder / "image_render" / "000.png").stat().st_mtime_ns == kept


def test_other_settings_need_another_folder(renders: RenderSet) -> None:
    with pytest.raises(InputError, match="holds renders of other settings"):
        write_renders(renders.root, studio_models(["car", "pedestrian"], 1), RenderSettings(size=48, views=4))


def test_samples_are_shared_by_a_classs_models() -> None:
    models = [*studio_models(["car"], 3), *studio_models(["bus"], 1)]
    assert view_counts(models, RenderSettings(views=None, samples=5)) == [2, 2, 1, 5]
    with pytest.raises(InputError, match="samples 2: car has 3 models"):
        view_counts(models, RenderSettings(views=None, samples=2))


def test_a_model_that_cannot_be_read_stops_or_is_left_out(tmp_path: Path) -> None:
    root = write_objaverse(tmp_path / "o", ("aaaa",))
    (root / "glbs" / "000-000" / "bbbb.glb").write_bytes(b"glTF")
    models, settings = find_models(root), RenderSettings(size=24, views=1, layout="objaverse")
    with pytest.raises(InputError, match=r"bbbb.glb: cannot be read as a mesh"):
        write_renders(tmp_path / "set", models, settings)
    found = write_renders(tmp_path / "set", models, settings, on_error="skip")
    assert [(entry.model, "cannot be read" in entry.reason) for entry in found.index.left_out] == [("bbbb", True)]
    assert [model.model for model in found.index.models] == ["aaaa"]
    with pytest.raises(InputError, match="all 1 models were left out"):
        write_renders(tmp_path / "none", models[1:], settings, on_error="skip")


def test_far_cameras_keep_their_depth_or_are_refused(tmp_path: Path) -> None:
    """16 bits of centimetres end at 655 m, and an annotation at 1000 m."""
    settings = RenderSettings(size=256, views=1, distance=80.0, supersample=1)
    (render,) = write_renders(tmp_path / "far", studio_models(["bus"], 1), settings)
    distance, depth = render.annotation.distance, render.depth
    assert distance > 655
    assert depth[depth > 0] == pytest.approx(distance, abs=10)
    marked_block("x", "z").export(tmp_path / "block.ply")
    block, large = (
        CadModel("car", "block", "car", tmp_path / "block.ply"),
        RenderSettings(16, 1, distance=80.0, scale=20.0),
    )
    with pytest.raises(
        InputError, match=r"car/block: distance 80 of its longest side is 1600 m, expected at most 1000 m"
    ):
        write_renders(tmp_path / "none", [block], large)


def test_other_materials_are_drawn_again(tmp_path: Path) -> None:
    """They are files of their own, beside the mesh's."""
    folder = tmp_path / "cad" / "car"
    folder.mkdir(parents=True)
    corners = "".join(f"v {x} {y} {z}\n" for x in (0, 4) for y in (0, 2) for z in (0, 1))
    (folder / "a.obj").write_text(
        f"mtllib a.mtl\n{corners}usemtl coat\nf 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 2 6 8 4\n"
    )
    found = []
    for paint in ("1 0 0", "0 0 1"):
        (folder / "a.mtl").write_text(f"newmtl coat\nKd {paint}\n")
        models = find_models(tmp_path / "cad")
        _mesh.cache_clear()  # as in another process
        with pytest.warns(UserWarning, match="not watertight"):
            (render,) = write_renders(tmp_path / "set", models, RenderSettings(size=32, views=1, supersample=1))
        rgba = render.rgba
        found.append(rgba[rgba[..., 3] > 0][:, :3].mean(0).argmax())
    assert found == [0, 2]
