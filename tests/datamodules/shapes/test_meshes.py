"""Cars by population, their geometry, and a user's CAD files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.shapes import street
from datamodules.shapes.cars import BODIES, draw_shape
from datamodules.shapes.meshes import POPULATIONS, car, load_cad
from datamodules.shapes.primitives import GLASS, HEADLIGHT, TAILLIGHT, TYRE, box


@pytest.mark.parametrize("body", [*BODIES, "van"])
def test_car_fills_its_box_and_has_lights_at_the_right_ends(body: str) -> None:
    for index in range(4):
        thing = car("studio", index, 0, body)
        np.testing.assert_allclose(thing.mesh.bounds, np.stack([-thing.dims / 2, thing.dims / 2]), atol=1e-4)
        middle = thing.mesh.triangles.mean(1)
        assert middle[thing.mesh.part == HEADLIGHT, 0].min() > 0.25 * thing.dims[0]
        assert middle[thing.mesh.part == TAILLIGHT, 0].max() < -0.25 * thing.dims[0]
        assert middle[thing.mesh.part == TYRE, 1].mean() > 0.1 * thing.dims[1]  # wheels below, y points down
        assert (thing.mesh.part == GLASS).sum() > 20 or body == "van"


def test_normals_are_unit_and_finite() -> None:
    mesh = car("train", 3).mesh
    assert np.isfinite(mesh.triangles).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=-1), 1, atol=1e-3)


def test_populations_share_no_shape_and_no_paint() -> None:
    drawn = {
        p: {tuple(np.ravel(list(asdict(draw_shape(derive(0, "car", p, i)))["dims"])).round(9)) for i in range(200)}
        for p in POPULATIONS
    }
    assert all(len(d) == 200 for d in drawn.values())
    assert not drawn["train"] & drawn["val"]
    assert not drawn["studio"] & (drawn["train"] | drawn["val"])


def test_dims_are_near_kittis_mean_car() -> None:
    dims = np.array([draw_shape(derive(0, "car", "train", i)).dims for i in range(600)])
    np.testing.assert_allclose(dims.mean(0), [3.88, 1.53, 1.63], atol=0.06)
    assert dims.std(0)[0] > 0.2


def test_same_seed_same_car() -> None:
    first = car("val", 7, 3).mesh
    car.cache_clear()
    second = car("val", 7, 3).mesh
    np.testing.assert_array_equal(first.triangles, second.triangles)
    np.testing.assert_array_equal(first.colour, second.colour)


def test_a_car_is_not_its_mirror_image() -> None:
    mesh = car("studio", 0).mesh
    reflected = mesh.colour.reshape(-1, 3)
    flap = np.all(np.isclose(reflected, 0.35 * np.array(draw_shape(derive(0, "car", "studio", 0)).paint), atol=1e-4), 1)
    assert flap.any()
    assert mesh.triangles[flap].mean((0, 1))[2] < 0  # the fuel flap is on the right-hand side, negative z


def test_people_and_cyclists_are_of_human_size() -> None:
    rng = derive(0, "people")
    for make, length in ((street.pedestrian, (0.2, 1.3)), (street.cyclist, (1.5, 1.95))):
        dims = make(rng).dims
        assert length[0] < dims[0] < length[1]
        assert 1.4 < dims[1] < 2.0
        assert dims[2] < 0.9


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_cad_axes_are_mapped_into_the_object_frame(tmp_path: Path, suffix: str) -> None:
    # A wedge-like body, 4 long along z (front), 2 high along y, 1 wide along x; the marker is at front, top, left.
    body = trimesh.creation.box((1, 2, 4))
    marker = trimesh.creation.box((0.2, 0.2, 0.2))
    marker.apply_translation((0.4, 0.9, 1.9))  # x is left when z is forward and y is up
    path = tmp_path / f"thing{suffix}"
    trimesh.util.concatenate([body, marker]).export(path)
    thing = load_cad(path, forward="z", up="y")
    np.testing.assert_allclose(thing.dims, [4, 2, 1], atol=1e-5)
    small = np.ptp(thing.mesh.triangles, axis=1).max(1) < 0.5
    centre = thing.mesh.triangles[small].mean((0, 1))
    assert centre[0] > 1.5
    assert centre[1] < -0.5
    assert centre[2] > 0.3


def test_cad_scales_to_given_dims(tmp_path: Path) -> None:
    trimesh.creation.icosphere().export(tmp_path / "ball.ply")
    thing = load_cad(tmp_path / "ball.ply", dims=(4.0, 1.5, 1.7))
    np.testing.assert_allclose(np.diff(thing.mesh.bounds, axis=0)[0], [4.0, 1.5, 1.7], atol=1e-4)


def painted(folder: Path, materials: str, picture: bool = True) -> np.ndarray:
    """(4, 3) colours as a display shows them of a tetrahedron whose first face lies on a picture's lower left half.

    The picture is red there and green elsewhere.
    """
    folder.mkdir()
    rows, columns = np.mgrid[:32, :32]
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 200 * (rows >= columns), 200 * (rows < columns)
    if picture:
        Image.fromarray(pixels).save(folder / "my paint.png")
    (folder / "t.mtl").write_text("newmtl coat\n" + materials)
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    places = "vt 0.02 0.02\nvt 0.9 0.02\nvt 0.02 0.9\nvt 0.98 0.98\nvt 0.3 0.98\nvt 0.98 0.3\n"
    faces = "usemtl coat\nf 1/1 3/2 2/3\nf 1/4 2/5 4/6\nf 1/4 4/5 3/6\nf 2/4 3/5 4/6\n"
    (folder / "t.obj").write_text(f"mtllib t.mtl\n{corners}{places}{faces}")
    return np.asarray(255 * load_cad(folder / "t.obj").mesh.colour ** (1 / 2.2))


def test_surfaces_have_the_colours_of_their_materials(tmp_path: Path) -> None:
    found = painted(tmp_path / "picture", "Kd 0 0 1\nmap_Kd my paint.png\n")
    np.testing.assert_allclose(found[0], [200, 0, 0], atol=1)
    np.testing.assert_allclose(found[1:], np.tile([0, 200, 0], (3, 1)), atol=1)
    np.testing.assert_allclose(painted(tmp_path / "plain", "Kd 0 0 1\n"), np.tile([0, 0, 255], (4, 1)), atol=1)
    grey = np.tile(153, (4, 3))
    np.testing.assert_allclose(painted(tmp_path / "nothing", "illum 2\n"), grey, atol=1)
    np.testing.assert_allclose(painted(tmp_path / "lost", "Kd 0 0 1\nmap_Kd my paint.png\n", False), grey, atol=1)
    box_ = trimesh.creation.box((1, 2, 3))  # as glTF has it: linear
    box_.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 51, 0, 255])
    )
    box_.export(tmp_path / "box.glb")
    np.testing.assert_allclose(load_cad(tmp_path / "box.glb").mesh.colour, np.tile([1, 0.2, 0], (12, 1)), atol=0.01)


def test_bad_cad_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.obj").write_text("this is no mesh")
    (tmp_path / "car.step").write_text("")
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "box.ply")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"path": tmp_path / "none.glb"}, "no such CAD file"),
        ({"path": tmp_path / "car.step"}, "not a known CAD format"),
        ({"path": tmp_path / "broken.obj"}, "broken.obj"),
        ({"path": tmp_path / "box.ply", "forward": "z", "up": "-z"}, "parallel"),
        ({"path": tmp_path / "box.ply", "up": "w"}, "axis 'w'"),
        ({"path": tmp_path / "box.ply", "dims": (1, 0, 2)}, "positive"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            load_cad(**arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="population 'test'"):
        car("test", 0)


def test_box_faces_look_outward() -> None:
    mesh = box((2, 1, 3), (0, 0, 0), (1, 1, 1))
    assert (np.einsum("tcd,tcd->tc", mesh.normals, mesh.triangles) > 0).all()
