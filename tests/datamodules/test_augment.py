"""Augmentation: image, camera, boxes and maps move together."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.augment import Augment, CameraTurn, cut_window, flip, pad, recolour, resize, zoom_window
from datamodules.errors import InputError
from datamodules.geometry import alpha_from_yaw, plane_height, projected_bbox, rotation_y
from datamodules.scene import Frame, Objects
from tests.datamodules.kitti_scenes import HEIGHT, WIDTH, random_frame

ALL = Augment(0.5, (0.8, 1.25), 0.1, 0.3, 0.3, 0.3, 0.05)


def pixel_map(frame: Frame, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(3, 3) source pixels to result pixels of ALL, from the same draws."""
    coin, zoom, shift = rng.random(), rng.uniform(0.8, 1.25), rng.uniform(-1, 1, 2) * 0.1
    left, top, columns, rows = zoom_window(frame.camera, zoom, shift)
    sx, sy = size[1] / columns, size[0] / rows
    matrix = np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5], [0, 0, 1.0]])
    return np.array([[-1.0, 0, size[1] - 1], [0, 1, 0], [0, 0, 1]]) @ matrix if coin < 0.5 else matrix


def same(a: Frame, b: Frame) -> None:
    """Two frames agree in everything."""
    for name in ("image", "plane", "road", "depth", "instances"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-9, err_msg=name)
    np.testing.assert_allclose(a.camera.projection, b.camera.projection, atol=1e-9)
    for name in ("bbox", "truncation", "occlusion", "alpha"):
        np.testing.assert_allclose(getattr(a.objects, name), getattr(b.objects, name), atol=1e-9, err_msg=name)
    np.testing.assert_allclose(a.objects.boxes.center, b.objects.boxes.center)
    np.testing.assert_allclose(a.objects.boxes.yaw, b.objects.boxes.yaw, atol=1e-9)
    assert a.objects.names.tolist() == b.objects.names.tolist()
    assert a.light is not None
    assert b.light is not None
    np.testing.assert_array_equal(a.light.sun, b.light.sun)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(48, 160), (96, 320), (30, 100), (40, 200)]))
def test_projected_corners_equal_warped_corners(seed: int, size: tuple[int, int]) -> None:
    frame = random_frame(seed % 50)
    result = ALL(frame, np.random.default_rng(seed), size)
    assert result.image.shape == (3, *size)
    matrix = pixel_map(frame, np.random.default_rng(seed), size)
    # Rows are dropped, never reordered: find the survivors by their dimensions.
    dims = frame.objects.boxes.dims
    survivors = [int(np.flatnonzero((dims == d).all(1))[0]) for d in result.objects.boxes.dims]
    solid = np.array([n != "DontCare" for n in result.objects.names], dtype=bool)
    before = frame.camera.project(frame.objects.boxes.corners)[0][survivors][solid]
    after = result.camera.project(result.objects.boxes.corners)[0][solid]
    warped = before @ matrix[:2, :2].T + matrix[:2, 2]
    if matrix[0, 0] < 0:
        warped = warped[:, [1, 0, 3, 2, 5, 4, 7, 6]]  # mirroring exchanges the left and the right side of a box
    np.testing.assert_allclose(after, warped, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_follow_the_image(seed: int) -> None:
    frame = random_frame(seed % 50)
    result = ALL(frame, np.random.default_rng(seed), (96, 320))
    objects = result.objects
    assert (objects.bbox >= 0).all()
    assert (objects.bbox <= [319, 95, 319, 95]).all()
    solid = objects.names != "DontCare"
    boxes = objects.boxes
    expected = alpha_from_yaw(boxes.yaw, boxes.center[:, 0], boxes.center[:, 2])[solid]
    np.testing.assert_allclose(np.cos(objects.alpha[solid] - expected), 1.0, atol=1e-12)
    assert (objects.alpha[~solid] == -10).all()
    assert (objects.truncation[~solid] == -1).all()
    assert result.instances is not None
    assert result.instances.max() <= len(objects)


TURNING = Augment(0.0, (0.8, 1.25), 0.1, pitch=2.0, roll=2.0, yaw=2.0)


def total_homography(frame: Frame, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(3, 3) source pixels to result pixels of TURNING, from the same draws: K R K^-1, then the window."""
    rng.random()
    zoom, shift = rng.uniform(0.8, 1.25), rng.uniform(-1, 1, 2) * 0.1
    rng.uniform(-1, 1, 4)
    pitch, roll, yaw = np.radians(rng.uniform(-1, 1, 3) * 2.0)
    rotation = cv2.Rodrigues(np.array([0, 0, roll]))[0] @ cv2.Rodrigues(np.array([pitch, 0, 0]))[0]
    rotation = rotation @ cv2.Rodrigues(np.array([0, yaw, 0]))[0]
    left, top, columns, rows = zoom_window(frame.camera, zoom, shift)
    sx, sy = size[1] / columns, size[0] / rows
    window = np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5], [0, 0, 1.0]])
    matrix = frame.camera.intrinsics
    return np.asarray(window @ matrix @ rotation @ np.linalg.inv(matrix))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(48, 160), (96, 320), (12, 40)]))
def test_a_turn_moves_corners_by_its_homography(seed: int, size: tuple[int, int]) -> None:
    frame = random_frame(seed % 50)
    result = TURNING(frame, np.random.default_rng(seed), size)
    assert result.image.shape == (3, *size)
    matrix = total_homography(frame, np.random.default_rng(seed), size)
    dims = frame.objects.boxes.dims
    survivors = [int(np.flatnonzero((dims == d).all(1))[0]) for d in result.objects.boxes.dims]
    solid = result.objects.names != "DontCare"
    before = frame.camera.project(frame.objects.boxes.corners)[0][survivors][solid]
    after, depth = result.camera.project(result.objects.boxes.corners)
    warped = np.concatenate([before, np.ones((*before.shape[:2], 1))], 2) @ matrix.T
    np.testing.assert_allclose(after[solid], warped[..., :2] / warped[..., 2:], atol=1e-3)
    # the observation angle is what the ray sees of the object: it does not turn with the camera
    alpha = result.objects.boxes.alpha[solid]
    np.testing.assert_allclose(np.cos(alpha - result.objects.alpha[solid]), 1.0, atol=1e-12)
    np.testing.assert_allclose(
        result.objects.boxes.center[solid][:, 1], frame.objects.boxes.center[survivors][solid, 1]
    )
    assert np.allclose(result.camera.unproject(after, depth), result.objects.boxes.corners, atol=1e-6)
    # labelled rectangles go with the outline: those of whole objects stay the projected box's
    full = projected_bbox(frame.camera, frame.objects.boxes, clip=False)
    whole = solid & (full == frame.objects.bbox).all(1)[survivors]
    expected = projected_bbox(result.camera, result.objects.boxes, clip=False)
    whole &= (expected >= 0).all(1) & (expected <= [size[1] - 2, size[0] - 2] * 2).all(1)
    np.testing.assert_allclose(result.objects.bbox[whole], expected[whole], atol=1e-6)


def test_a_turn_moves_plane_depth_and_ground_alike() -> None:
    frame = random_frame(5)
    assert frame.plane is not None
    result = cut_window(frame, 0, 0, WIDTH, HEIGHT, WIDTH, HEIGHT, CameraTurn(0.02, -0.03, 0.03))
    assert result.plane is not None
    assert result.light is not None
    points = np.array([[1.0, plane_height(frame.plane, 1.0, 9.0), 9.0], [-3, plane_height(frame.plane, -3, 20), 20]])
    moved = points @ rotation_y(0.03).T
    np.testing.assert_allclose(plane_height(result.plane, moved[:, 0], moved[:, 2]), points[:, 1], atol=1e-9)
    _, before = frame.camera.project(points)
    pixels, after = result.camera.project(moved)
    wall = cut_window(
        frame.with_(depth=np.full((HEIGHT, WIDTH), before[0], np.float32)),
        0,
        0,
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
        CameraTurn(0.02, -0.03, 0.03),
    )
    assert wall.depth is not None
    column, row = pixels[0].round().astype(int)
    assert wall.depth[row, column] == pytest.approx(after[0], rel=2e-3)
    upper, tilt = result.camera.pinhole()
    np.testing.assert_allclose(upper, frame.camera.intrinsics, atol=1e-9)
    np.testing.assert_allclose(tilt @ tilt.T, np.eye(3), atol=1e-12)
    assert result.camera.focal == pytest.approx(frame.camera.focal)
    again = result.camera.turned(0.0, 0.0, 0.1)[0].pinhole()[1]
    np.testing.assert_allclose(again, tilt, atol=1e-12)  # a yaw keeps a tilted camera's label frame level


def test_a_turned_picture_shows_a_point_where_the_camera_projects_it() -> None:
    frame = random_frame(3, maps=False)
    for seed in range(10):
        pixel = np.array([80.0, 25.0])
        point = frame.camera.unproject(pixel[None], np.array([15.0]))
        dot = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        cv2.circle(dot, (80, 25), 2, (255, 255, 255), -1)
        marked = frame.with_(image=dot.transpose(2, 0, 1))
        result = TURNING(marked, np.random.default_rng(seed), (96, 320))
        rng = np.random.default_rng(seed)
        rng.random(8)
        yaw = np.radians(rng.uniform(-1, 1, 3)[2] * 2.0)
        seen = np.argwhere((result.image[0] > 200) & (result.image[1] > 200)).mean(0)[::-1]
        np.testing.assert_allclose(seen, result.camera.project(point @ rotation_y(yaw).T)[0][0], atol=0.75)


def test_a_turn_that_leaves_no_image_is_refused() -> None:
    frame = random_frame(2)
    tele = frame.with_(camera=replace(frame.camera, projection=np.diag([60.0, 60, 1]) @ frame.camera.projection))
    with pytest.raises(InputError, match=r"000002: a turn by pitch 28.65, roll 0.00, yaw 0.00 degrees leaves no image"):
        cut_window(tele, 0, 0, WIDTH, HEIGHT, WIDTH, HEIGHT, CameraTurn(0.5, 0.0, 0.0))
    with pytest.raises(InputError, match=r"augment roll 50\.0: expected degrees from 0 to below 45"):
        Augment(roll=50.0)


def test_other_draws_are_those_without_a_turn() -> None:
    """A turn is drawn last: arms with and without it see the same flips, windows and colours."""
    frame = random_frame(7, maps=False)
    plain, turning = Augment(0.5, (0.8, 1.25), 0.1, 0.3), Augment(0.5, (0.8, 1.25), 0.1, 0.3, yaw=1e-9)
    for seed in range(5):
        a, b = (augment(frame, np.random.default_rng(seed), (48, 160)) for augment in (plain, turning))
        np.testing.assert_allclose(a.camera.projection, b.camera.projection, atol=1e-6)
        assert np.abs(a.image.astype(int) - b.image).mean() < 1


def test_image_is_warped_as_the_camera_says() -> None:
    """A bright dot at an object's projected centre stays at its projected centre."""
    frame = random_frame(3, maps=False)
    for seed in range(20):
        point = np.array([[0.2, 1.0, 15.0]])
        pixel = frame.camera.project(point)[0][0].round()
        point = frame.camera.unproject(pixel[None], np.array([15.0]))
        dot = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        cv2.circle(dot, (int(pixel[0]), int(pixel[1])), 2, (255, 255, 255), -1)
        result = Augment(0.5, (0.9, 1.2), 0.05)(
            frame.with_(image=dot.transpose(2, 0, 1)), np.random.default_rng(seed), (96, 320)
        )
        assert result.camera.projection[0, 0] > 0  # a mirrored image is the mirrored scene in an ordinary camera
        flipped = np.random.default_rng(seed).random() < 0.5
        target = point * [-1, 1, 1] if flipped else point
        seen = np.argwhere((result.image[0] > 200) & (result.image[1] > 200)).mean(0)[::-1]
        np.testing.assert_allclose(seen, result.camera.project(target)[0][0], atol=0.75)


def test_identity_when_everything_is_closed() -> None:
    frame = random_frame(1)
    assert Augment(flip=0.0)(frame, np.random.default_rng(0)) is frame
    assert resize(frame, WIDTH, HEIGHT) is frame


def test_flip_twice_is_identity() -> None:
    frame = random_frame(2)
    once = flip(frame)
    assert not np.array_equal(once.image, frame.image)
    assert once.light is not None
    assert once.light.sun.tolist() == [-0.3, -0.9, 0.1]
    row = once.objects.names.tolist().index("DontCare")
    assert once.objects.boxes.center[row].tolist() == [-1000.0] * 3
    same(flip(once), frame)


def test_flip_moves_plane_and_maps() -> None:
    frame = random_frame(4)
    once = flip(frame)
    assert frame.plane is not None
    assert once.plane is not None
    on_plane = np.array([3.0, 0.0, 12.0])
    on_plane[1] = -(frame.plane[[0, 2, 3]] @ [3.0, 12.0, 1.0]) / frame.plane[1]
    assert abs(once.plane[:3] @ (on_plane * [-1, 1, 1]) + once.plane[3]) < 1e-12
    assert frame.road is not None
    np.testing.assert_array_equal(once.road, frame.road[:, ::-1])


def test_pad_keeps_every_pixel_and_label() -> None:
    frame = random_frame(5)
    padded = pad(frame, 192, 64)
    assert padded.image.shape == (3, 64, 192)
    np.testing.assert_array_equal(padded.image[:, :HEIGHT, :WIDTH], frame.image)
    assert (padded.image[:, HEIGHT:] == np.array([124, 116, 104])[:, None, None]).all()
    np.testing.assert_array_equal(padded.objects.bbox, frame.objects.bbox)
    np.testing.assert_array_equal(padded.objects.truncation, frame.objects.truncation)
    np.testing.assert_allclose(padded.camera.projection, frame.camera.projection)
    with pytest.raises(InputError, match="do not fit into size 40 x 100"):
        pad(frame, 100, 40)


def test_objects_outside_are_dropped_and_instances_renumbered() -> None:
    frame = random_frame(6)
    bbox = np.array([[2.0, 5, 20, 20], [70, 10, 100, 30], [75, 5, 90, 40], [150, 3, 158, 20], [20, 10, 40, 30]])
    o = frame.objects
    objects = Objects(o.boxes, o.names, bbox, np.array([0, 0, 0.2, 0, -1.0]), o.occlusion, o.alpha)
    instances = np.zeros((HEIGHT, WIDTH), np.uint8)
    instances[10:20, 75:80] = 3
    result = cut_window(frame.with_(objects=objects, instances=instances), 60, 0, 30, 48, 60, 96)
    assert len(result.objects) == 2
    np.testing.assert_allclose(result.objects.truncation[0], 1 - 19 / 30)  # columns 70..89 of 70..100 remain
    np.testing.assert_allclose(result.objects.truncation[1], 1 - 0.8 * 14 / 15)
    assert result.instances is not None
    assert set(np.unique(result.instances)) == {0, 2}


def test_resize_alone_changes_no_truncation() -> None:
    frame = random_frame(7)
    for width, height in ((320, 96), (100, 30), (155, 47)):
        result = resize(frame, width, height)
        np.testing.assert_allclose(result.objects.truncation, frame.objects.truncation, atol=1e-12)
        assert len(result.objects) == len(frame.objects)


def test_window_wholly_outside_is_grey() -> None:
    result = cut_window(random_frame(8), 500, 0, 20, 20, 20, 20)
    assert (result.image == np.array([124, 116, 104])[:, None, None]).all()
    assert len(result.objects) == 0


def test_recolour() -> None:
    frame = random_frame(9)
    np.testing.assert_array_equal(recolour(frame, 0, 0, 0, 0).image, frame.image)
    bright = recolour(frame, 0.2, 0, 0, 0).image.astype(int)
    np.testing.assert_allclose(bright, np.clip(frame.image * 1.2, 0, 255), atol=1.5)
    grey = recolour(frame, 0, 0, -1, 0).image.astype(int)
    assert np.ptp(grey, axis=0).max() <= 2
    luma = np.tensordot([0.299, 0.587, 0.114], recolour(frame, 0, 0, -0.5, 0.03).image.astype(float), 1)
    inside = (frame.image > 60).all(0) & (frame.image < 190).all(0)
    before = np.tensordot([0.299, 0.587, 0.114], frame.image.astype(float), 1)
    assert np.abs(luma - before)[inside].max() < 3


def test_augment_writes_nothing_into_the_frame() -> None:
    frame = random_frame(10)
    for array in (frame.image, frame.depth, frame.road, frame.instances, frame.objects.bbox):
        assert array is not None
        array.flags.writeable = False
    for seed in range(6):
        ALL(frame, np.random.default_rng(seed))
        resize(flip(frame), 100, 30)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"flip": 1.5}, "flip 1.5"),
        ({"scale": (1.2, 0.8)}, "scale"),
        ({"hue": -0.1}, "hue -0.1"),
        ({"shift": 1.0}, "shift"),
    ],
)
def test_refuses_impossible_ranges(options: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Augment(**options)  # type: ignore[arg-type]


def test_any_memory_layout() -> None:
    """A contiguous (3, H, W) image is as good as a view on (H, W, 3)."""
    frame = random_frame(11)
    planar = frame.with_(image=np.ascontiguousarray(frame.image))
    same(ALL(frame, np.random.default_rng(5)), ALL(planar, np.random.default_rng(5)))
