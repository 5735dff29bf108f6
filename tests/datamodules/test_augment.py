"""Augmentation: image, camera, boxes and maps move together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.augment import Augment, cut_window, flip, pad, recolour, resize, zoom_window
from datamodules.errors import InputError
from datamodules.geometry import alpha_from_yaw
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
