"""The ray caster: where things land, how deep they are, what is in shadow."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox, rotation_y
from datamodules.light import Light
from datamodules.shapes.meshes import CarMesh, car
from datamodules.shapes.primitives import Mesh, box, grid
from datamodules.shapes.raycast import RayScene, ray_scene, render_car, smooth_normals, sunlit

CAMERA = Camera(np.array([[186.0, 0, 160, 11], [0, 186, 45, 0.05], [0, 0, 1, 0.0027]]), 320, 96)
# Six face colours in the canonical frame: (axis, sign) to linear RGB.
FACES = {
    (0, 1): (0.8, 0.05, 0.05),
    (0, -1): (0.05, 0.8, 0.05),
    (1, 1): (0.05, 0.05, 0.8),
    (1, -1): (0.8, 0.8, 0.05),
    (2, 1): (0.8, 0.05, 0.8),
    (2, -1): (0.05, 0.8, 0.8),
}


def coloured_cube(dims: np.ndarray) -> CarMesh:
    parts = []
    for (axis, sign), colour in FACES.items():
        u, v = [a for a in range(3) if a != axis]
        points = np.zeros((2, 2, 3))
        points[..., axis] = sign
        points[..., u], points[..., v] = [[-1, 1], [-1, 1]], [[-1, -1], [1, 1]]
        parts.append(grid(points * dims / 2, colour, smooth=False))
    return CarMesh("cube", "Car", np.asarray(dims, float), Mesh.concatenate(parts), "cad")


@pytest.mark.parametrize("yaw", np.arange(8) * np.pi / 4 - np.pi + 0.1)
def test_each_face_of_a_coloured_cube_lands_where_its_box_says(yaw: float) -> None:
    dims = np.array([4.0, 1.6, 1.8])
    place = Boxes3D.single([2.0, 2.6, 12.0], dims, yaw)
    projection = canonical_projection(CAMERA, place)[0]
    rgba, depth = render_car(coloured_cube(dims), projection, 0, 0, 320, 96, ambient=1.0)
    eye = np.linalg.solve(projection[:, :3], -projection[:, 3])
    checked = 0
    for (axis, sign), colour in FACES.items():
        middle = np.zeros(3)
        middle[axis] = sign
        if eye[axis] * sign < 1.15:  # this face is turned away from the camera, or seen at a grazing angle
            continue
        uv, metres = projection[:2] @ [*middle, 1], projection[2] @ [*middle, 1]
        u, v = np.rint(uv / metres).astype(int)
        seen = rgba[v, u, :3].astype(float)
        # The strong channels of the face are strong in the pixel.
        assert rgba[v, u, 3] == 255
        assert seen[np.array(colour) > 0.5].min() > 1.5 * seen[np.array(colour) < 0.5].max()
        assert depth[v, u] == pytest.approx(metres, abs=0.7 if axis == 1 else 0.15)  # the roof is seen flat
        checked += 1
    assert checked >= 2
    # The mask is exactly the projected box's silhouette.
    rows, columns = np.nonzero(rgba[..., 3] > 127)
    bbox = projected_bbox(CAMERA, place)[0]
    np.testing.assert_allclose([columns.min(), rows.min(), columns.max(), rows.max()], bbox, atol=1.0)


def test_a_car_that_drives_away_shows_its_red_rear_lights() -> None:
    def redness(yaw: float) -> tuple[float, float]:
        total_red, total_white = 0.0, 0.0
        for index in range(6):
            thing = car("studio", index, 0, "suv")
            place = Boxes3D.single([0.0, 1.65, 9.0], thing.dims, yaw)
            rgba, _ = render_car(thing, canonical_projection(CAMERA, place)[0], 0, 0, 320, 96, ambient=1.0)
            r, g, b = (rgba[..., i].astype(float) for i in range(3))
            total_red += ((r > 120) & (g < 60) & (b < 60)).sum()
            total_white += ((r > 200) & (g > 200) & (b > 190)).sum()
        return total_red, total_white

    assert redness(-np.pi / 2)[0] > 3 * redness(np.pi / 2)[0] + 10
    assert redness(np.pi / 2)[1] > redness(-np.pi / 2)[1]


def test_at_yaw_zero_the_front_is_on_the_right() -> None:
    thing = car("studio", 1, 0, "sedan")
    place = Boxes3D.single([0.0, 1.65, 9.0], thing.dims, 0.0)
    rgba, _ = render_car(thing, canonical_projection(CAMERA, place)[0], 0, 0, 320, 96, ambient=1.0)
    columns = np.nonzero((rgba[..., 0] > 120) & (rgba[..., 1] < 60) & (rgba[..., 3] == 255))[1]
    assert len(columns) > 3
    assert columns.mean() < CAMERA.projection[0, 2] - 20  # red lights on the left


def test_windows_of_one_image_agree() -> None:
    thing = car("train", 2)
    projection = canonical_projection(CAMERA, Boxes3D.single([1.0, 1.6, 10.0], thing.dims, 0.7))[0]
    whole, deep = render_car(thing, projection, 0, 0, 320, 96)
    part, part_deep = render_car(thing, projection, 150, 30, 50, 40)
    np.testing.assert_array_equal(whole[30:70, 150:200], part)
    np.testing.assert_array_equal(deep[30:70, 150:200], part_deep)
    assert (whole[..., :3].max(-1) <= whole[..., 3]).all()  # premultiplied


def test_shadow_of_a_roof_on_the_ground() -> None:
    ground = grid(np.array([[[-9, 0, -9], [9, 0, -9]], [[-9, 0, 9], [9, 0, 9.0]]]), (0.5, 0.5, 0.5), smooth=False)
    scene_mesh = Mesh.concatenate([ground, box((2, 0.1, 2), (0, -2, 0), (1, 1, 1))])
    scene = RayScene(scene_mesh.triangles)
    targets = np.array([[0.0, 0, 0], [4.0, 0, 0], [2.0, 0, 0]])
    origins = targets - np.array([0.0, 1.0, 0.0])
    directions = np.broadcast_to([0.0, 1.0, 0.0], origins.shape)
    hits = scene.nearest(origins, directions)
    np.testing.assert_allclose(hits.distance, 1.0, atol=1e-5)
    normals = smooth_normals(scene_mesh, hits.triangle, hits.u, hits.v, directions)
    np.testing.assert_allclose(normals, np.broadcast_to([0, -1, 0], (3, 3)), atol=1e-5)
    above = sunlit(scene, targets, hits.facing, directions, Light(np.array([0, -1.0, 0]), 0.5))
    np.testing.assert_array_equal(above, [0, 1, 1])
    slanted = sunlit(scene, targets, hits.facing, directions, Light(np.array([-1.0, -1.0, 0]) / np.sqrt(2), 0.5))
    np.testing.assert_array_equal(slanted, [1, 1, 0])
    overcast = sunlit(scene, targets, hits.facing, directions, Light(ambient=1.0))
    np.testing.assert_array_equal(overcast, 1)


def test_the_sun_lights_the_side_it_shines_on() -> None:
    dims = np.array([4.0, 1.6, 1.8])
    place = Boxes3D.single([0.0, 1.7, 12.0], dims, 0.0)
    white = CarMesh("box", "Car", dims, box(tuple(dims), (0, 0, 0), (0.6, 0.6, 0.6)), "cad")
    projection = canonical_projection(CAMERA, place)[0]

    def brightness(sun: list[float]) -> float:
        in_object = rotation_y(np.float64(0.0)).T @ np.array(sun)
        return float(render_car(white, projection, 0, 0, 320, 96, in_object, 0.4)[0][..., 0].sum())

    assert brightness([0, -0.6, -0.8]) > 1.1 * brightness([0, -0.6, 0.8])  # from behind the camera, from behind the box


def test_scenes_are_built_once_a_mesh() -> None:
    mesh = car("train", 4).mesh
    assert ray_scene(mesh) is ray_scene(mesh)
    assert ray_scene(car("train", 5).mesh) is not ray_scene(mesh)
