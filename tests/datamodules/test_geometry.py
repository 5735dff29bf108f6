"""Cameras, boxes and their 2D rectangles: every convention that a mirrored or shifted object would break."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.geometry import (
    CORNER_SIGNS,
    EDGES,
    NEAR,
    Boxes3D,
    Camera,
    alpha_from_yaw,
    canonical_projection,
    clip_bbox,
    projected_bbox,
    rotation_y,
    truncation,
    wrap_angle,
    yaw_from_alpha,
)

# P2 of a KITTI frame: the fourth column is large enough to be missed when dropped
P2 = np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0.002745884]])
KITTI = Camera(P2, 1242, 375)

angle = st.floats(-10, 10)
lateral = st.floats(-15, 15)
depth = st.floats(6, 60)
size = st.floats(0.3, 5)


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    focal, offset = draw(st.floats(200, 1200)), draw(st.floats(-60, 60))
    width, height = draw(st.integers(64, 1400)), draw(st.integers(48, 500))
    intrinsics = np.array([[focal, 0, width * 0.49], [0, focal * 1.01, height * 0.46], [0, 0, 1]])
    return Camera(np.column_stack([intrinsics, [offset, offset / 7, 0.003]]), width, height)


@st.composite
def boxes(draw: st.DrawFn) -> Boxes3D:
    center = np.array([draw(lateral), draw(st.floats(-1, 3)), draw(depth)])
    return Boxes3D.single(center, np.array([draw(size), draw(size), draw(size)]), draw(angle))


def surface(box: Boxes3D, steps: int = 60) -> np.ndarray:
    """Points (K, 3) all over the six faces of one box, camera frame."""
    line = np.linspace(-1, 1, steps)
    u, v = (grid.ravel() for grid in np.meshgrid(line, line))
    faces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            points = np.empty((len(u), 3))
            points[:, axis], points[:, (axis + 1) % 3], points[:, (axis + 2) % 3] = sign, u, v
            faces.append(points)
    pose = box.object_to_camera[0]
    return np.concatenate(faces) @ pose[:, :3].T + pose[:, 3]


@settings(deadline=None)
@given(cameras(), st.floats(-2000, 3000), st.floats(-2000, 3000), st.floats(0.2, 200))
def test_project_inverts_unproject(camera: Camera, u: float, v: float, z: float) -> None:
    pixel, distance = np.array([[u, v]]), np.array([z])
    points = camera.unproject(pixel, distance)
    again, same = camera.project(points)
    np.testing.assert_allclose(again, pixel, atol=1e-6)
    np.testing.assert_allclose(same, distance, rtol=1e-9)
    origin, directions = camera.rays(pixel)
    np.testing.assert_allclose(origin + z * directions, points, atol=1e-8)


def test_the_fourth_column_counts() -> None:
    pixel, distance = KITTI.project(np.array([0.0, 0, 10]))
    assert distance == pytest.approx(10.002745884)
    assert pixel[0] == pytest.approx((6095.593 + 44.85728) / 10.002745884)
    np.testing.assert_allclose(KITTI.projection @ [*KITTI.center, 1], 0, atol=1e-12)
    assert KITTI.center[0] == pytest.approx(-0.06, abs=0.003)  # P2's camera stands 6 cm to the left


@settings(deadline=None)
@given(cameras(), boxes())
def test_flipped_boxes_in_the_flipped_camera_are_mirrored_pixels(camera: Camera, box: Boxes3D) -> None:
    pixels, distance = camera.project(box.corners)
    mirrored, same = camera.flipped().project(box.flipped().corners)
    expected = pixels.copy()
    expected[..., 0] = camera.width - 1 - expected[..., 0]
    # mirroring turns the left of the object into its right: corners swap across the canonical z axis
    swap = [int(np.flatnonzero((signs == CORNER_SIGNS).all(1))[0]) for signs in CORNER_SIGNS * [1, 1, -1]]
    np.testing.assert_allclose(mirrored[:, swap], expected, atol=1e-6)
    np.testing.assert_allclose(same[:, swap], distance, atol=1e-9)
    twice = box.flipped().flipped()
    np.testing.assert_allclose(twice.corners, box.corners, atol=1e-9)
    np.testing.assert_allclose(camera.flipped().flipped().projection, camera.projection, atol=1e-9)


@settings(deadline=None)
@given(cameras(), boxes(), st.integers(-40, 200), st.integers(-40, 100), st.floats(0.3, 2.5), st.floats(0.3, 2.5))
def test_crop_and_resize_move_pixels_as_the_image_does(
    camera: Camera, box: Boxes3D, left: int, top: int, sx: float, sy: float
) -> None:
    pixels, distance = camera.project(box.corners)
    cropped, same = camera.cropped(left, top, 80, 40).project(box.corners)
    np.testing.assert_allclose(cropped, pixels - [left, top], atol=1e-6)
    np.testing.assert_allclose(same, distance)
    width, height = max(int(camera.width * sx), 1), max(int(camera.height * sy), 1)
    resized, _ = camera.resized(width, height).project(box.corners)
    ratio = np.array([width / camera.width, height / camera.height])
    np.testing.assert_allclose(resized, (pixels + 0.5) * ratio - 0.5, atol=1e-6)  # pixel areas, not centres, scale


def test_resize_agrees_with_opencv() -> None:
    """The centre of mass of a blob moves where the resized camera says."""
    cv2 = pytest.importorskip("cv2")
    camera = Camera(P2 * [[0.1], [0.1], [1]], 124, 38)
    point = camera.unproject(np.array([[70.0, 20.0]]), np.array([10.0]))
    v, u = np.mgrid[:38, :124]
    blob = np.exp(-((u - 70.0) ** 2 + (v - 20.0) ** 2) / 18).astype(np.float32)
    resized = cv2.resize(blob, (248, 57), interpolation=cv2.INTER_LINEAR)
    v, u = np.mgrid[:57, :248]
    mass = np.array([(resized * u).sum(), (resized * v).sum()]) / resized.sum()
    np.testing.assert_allclose(camera.resized(248, 57).project(point)[0][0], mass, atol=0.02)


@settings(deadline=None)
@given(angle, lateral, st.floats(0.5, 80))
def test_alpha_and_yaw_invert_each_other(yaw: float, x: float, z: float) -> None:
    alpha = alpha_from_yaw(np.array(yaw), np.array(x), np.array(z))
    assert -np.pi <= alpha < np.pi
    again = yaw_from_alpha(alpha, np.array(x), np.array(z))
    assert np.cos(again - yaw) == pytest.approx(1, abs=1e-12)
    box = Boxes3D.single(np.array([x, 1.5, z]), np.ones(3), yaw)
    assert np.cos(box.alpha[0] - alpha) == pytest.approx(1, abs=1e-12)


def test_alpha_of_a_real_label() -> None:
    """Row 1 of KITTI's training frame 000008: alpha and yaw are both annotated."""
    assert alpha_from_yaw(np.array(-1.29), np.array(-2.70), np.array(3.68)) == pytest.approx(-0.69, abs=0.05)


@given(angle)
def test_wrapped_angles(value: float) -> None:
    wrapped = float(wrap_angle(np.array(value)))
    assert -np.pi <= wrapped < np.pi
    assert (wrapped - value) / (2 * np.pi) == pytest.approx(round((wrapped - value) / (2 * np.pi)), abs=1e-9)


@given(angle)
def test_rotation_is_proper_and_turns_length_to_heading(yaw: float) -> None:
    rotation = rotation_y(np.array(yaw))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ [1, 0, 0], [np.cos(yaw), 0, -np.sin(yaw)], atol=1e-12)


@pytest.mark.parametrize(
    ("yaw", "front", "left"),
    [
        (0.0, (1, 0, 0), (0, 0, 1)),  # looks right: its left side is away from the camera
        (-np.pi / 2, (0, 0, 1), (-1, 0, 0)),  # drives away: its left is the image's left
        (np.pi / 2, (0, 0, -1), (1, 0, 0)),  # comes towards the camera: its left is the image's right
        (-np.pi, (-1, 0, 0), (0, 0, -1)),
    ],
)
def test_faces_of_the_canonical_cube_point_where_the_yaw_says(
    yaw: float, front: tuple[int, int, int], left: tuple[int, int, int]
) -> None:
    box = Boxes3D.single(np.array([3.0, 1.5, 20.0]), np.array([4.0, 1.5, 1.8]), yaw)
    middle = np.array([3.0, 0.75, 20.0])
    corners = box.corners[0]
    np.testing.assert_allclose(corners[CORNER_SIGNS[:, 0] > 0].mean(0) - middle, 2.0 * np.array(front), atol=1e-12)
    np.testing.assert_allclose(corners[CORNER_SIGNS[:, 2] > 0].mean(0) - middle, 0.9 * np.array(left), atol=1e-12)
    np.testing.assert_allclose(corners[CORNER_SIGNS[:, 1] > 0].mean(0), [3.0, 1.5, 20.0], atol=1e-12)  # bottom face
    lengths = np.linalg.norm(corners[EDGES[:, 0]] - corners[EDGES[:, 1]], axis=1)
    np.testing.assert_allclose(np.sort(lengths), np.repeat([1.5, 1.8, 4.0], 4))


@settings(deadline=None)
@given(cameras(), boxes())
def test_canonical_projection_equals_projected_corners(camera: Camera, box: Boxes3D) -> None:
    pixels, distance = camera.project(box.corners)
    matrix = canonical_projection(camera, box)[0]
    homogeneous = CORNER_SIGNS @ matrix[:, :3].T + matrix[:, 3]
    np.testing.assert_allclose(homogeneous[:, 2], distance[0], atol=1e-9)
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], pixels[0], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(boxes(), st.floats(-2.0, 2.0))
def test_projected_bbox_of_boxes_across_the_near_plane(box: Boxes3D, shift: float) -> None:
    """Against dense samples of the surface: nothing visible lies outside, and all four sides are reached."""
    near = Boxes3D(box.center * np.array([0.2, 1, 0]) + np.array([0, 0, shift]), box.dims, box.yaw)
    points = surface(near)
    pixels, distance = KITTI.project(points)
    visible = pixels[distance >= NEAR]
    bbox = projected_bbox(KITTI, near, clip=False)[0]
    if len(visible) == 0:
        # a corner may still reach in between two samples
        assert np.isnan(bbox).all() or KITTI.project(near.corners)[1].max() < NEAR + 0.2
        return
    assert (visible >= bbox[:2] - 1e-6).all()
    assert (visible <= bbox[2:] + 1e-6).all()
    clipped = projected_bbox(KITTI, near)[0]
    np.testing.assert_array_equal(clipped, clip_bbox(bbox[None], KITTI.width, KITTI.height)[0])


def test_projected_bbox_reaches_the_cut_at_the_near_plane() -> None:
    """A wall that runs past the camera on its right: the rectangle's right side is the wall's cut at the near plane."""
    wall = Boxes3D.single(np.array([2.0, 1.0, 0.0]), np.array([20.0, 2.0, 0.5]), -np.pi / 2)
    left, top, right, bottom = projected_bbox(KITTI, wall, clip=False)[0]
    cut, _ = KITTI.project(np.array([[2.25, 1.0, NEAR - P2[2, 3]]]))
    far, _ = KITTI.project(np.array([[1.75, 1.0, 10.0]]))
    assert right == pytest.approx(cut[0, 0])
    assert bottom == pytest.approx(cut[0, 1])
    assert left == pytest.approx(far[0, 0])
    assert top < 0 < bottom
    np.testing.assert_allclose(projected_bbox(KITTI, wall)[0], [left, 0, 1241, 374])


@settings(deadline=None)
@given(boxes())
def test_projected_bbox_in_front_is_the_extent_of_the_corners(box: Boxes3D) -> None:
    pixels = KITTI.project(box.corners)[0][0]
    np.testing.assert_allclose(projected_bbox(KITTI, box, clip=False)[0], [*pixels.min(0), *pixels.max(0)], rtol=1e-12)


def test_a_box_behind_the_camera_has_no_rectangle() -> None:
    behind = Boxes3D.single(np.array([0.0, 1.5, -10]), np.ones(3), 0.0)
    assert np.isnan(projected_bbox(KITTI, behind)).all()


def test_truncation_is_the_share_outside_the_image() -> None:
    full = np.array([[-50.0, 100, 50, 200], [10, 10, 20, 20], [-20, -20, -10, -10], [1191, 0, 1291, 10]])
    clipped = clip_bbox(full, 1242, 375)
    np.testing.assert_allclose(truncation(full, clipped), [0.5, 0, 1, 0.5])


def test_selection_and_concatenation_keep_rows_together() -> None:
    box = Boxes3D(np.arange(6.0).reshape(2, 3), np.ones((2, 3)), np.array([0.1, 0.2]))
    joined = Boxes3D.concatenate([box, box[[1]], Boxes3D.empty()])
    assert len(joined) == 3
    np.testing.assert_array_equal(joined[np.array([2])].center, box.center[1:])
    np.testing.assert_array_equal(box.bev[1], [3, 5, 1, 1, 0.2])
    assert len(Boxes3D.concatenate([])) == 0
