"""The blur of pictures is measured, and layers are brought to it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from datamodules.assets.contract import Layer
from datamodules.injection.compositing import Compositor, Placed
from datamodules.injection.sharpness import at_blur, edge_blur, frame_blur, layer_blur
from datamodules.scene import Frame
from tests.datamodules.injection.test_compositing import paint, placed
from tests.datamodules.injection_scenes import HEIGHT, WIDTH, box_at, road_frame

FINE = 4  # samples a pixel and axis of the constructed pictures


def polygons(height: int, width: int, blur: float, seed: int = 1) -> np.ndarray:
    """(H, W) float32 grey polygons of all directions, blurred by a known standard deviation in pixels."""
    rng = np.random.default_rng(seed)
    image = np.full((height * FINE, width * FINE), 90, np.uint8)
    for _ in range(25):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.4) * height * FINE
        corners = np.array([[np.cos(angle + t), np.sin(angle + t)] for t in (0.3, 2.2, 3.4, 5.5)]) * reach
        middle = rng.uniform(0, 1, 2) * (width * FINE, height * FINE)
        cv2.fillPoly(image, [(corners + middle).astype(np.int32)], int(rng.uniform(20, 230)))
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), blur * FINE)
    return blurred[FINE // 2 :: FINE, FINE // 2 :: FINE]


def layer_of(blur: float, size: tuple[int, int] = (60, 110)) -> Layer:
    """An opaque patterned ellipse with a soft outline, both of a known blur."""
    height, width = size
    outline = np.zeros((height * FINE, width * FINE), np.uint8)
    middle, axes = (width * FINE // 2, height * FINE // 2), (int(0.42 * width * FINE), int(0.4 * height * FINE))
    cv2.ellipse(outline, middle, axes, 0, 0, 360, 255, -1)
    alpha = cv2.GaussianBlur(outline, (0, 0), blur * FINE)[FINE // 2 :: FINE, FINE // 2 :: FINE].astype(float)
    colour = polygons(height, width, blur, 3) * alpha / 255
    rgba = np.rint(np.stack([colour, colour, colour, alpha], -1)).astype(np.uint8)
    return Layer(rgba, np.where(alpha > 0, 10, 0).astype(np.float32), 5, 7, np.array([5.0, 7, 114, 66]))


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize("blur", [0.5, 0.8, 1.2])
def test_blur_is_measured_behind_noise(blur: float, noise: float) -> None:
    picture = polygons(120, 180, blur)
    picture += np.random.default_rng(0).normal(0, noise, picture.shape).astype(np.float32)
    assert edge_blur(picture) == pytest.approx(blur, abs=0.15)


def test_pictures_without_edges_tell_nothing() -> None:
    flat = np.full((60, 80), 120, np.float32)
    assert edge_blur(flat) is None
    assert edge_blur(flat + np.random.default_rng(0).normal(0, 1, flat.shape).astype(np.float32)) is None
    assert edge_blur(np.zeros((2, 3), np.float32)) is None
    frame, car = road_frame(), placed(box_at(0.0, 9.0))
    same = paint(frame, [car], Compositor(resolution=True))  # the frame tells nothing either
    np.testing.assert_array_equal(same.image, paint(frame, [car], Compositor()).image)


def test_a_layer_sharper_than_the_photograph_is_blurred_to_it() -> None:
    layer = layer_of(0.5)
    blurred, edge = at_blur(layer, 1.4)
    assert layer_blur(blurred) == pytest.approx(1.4, abs=0.2)
    assert edge == pytest.approx(np.sqrt(1.4**2 - 0.5**2), abs=0.2)
    np.testing.assert_array_equal(blurred.mask, layer.mask)
    inside = cv2.erode(layer.mask.view(np.uint8), np.ones((9, 9), np.uint8)) > 0
    before, after = (one.rgba[inside][:, 0].astype(float).mean() for one in (layer, blurred))
    assert after == pytest.approx(before, abs=1.5)


def test_a_blurrier_layer_is_sharpened_without_halos_and_keeps_its_mask() -> None:
    layer = layer_of(1.6)
    sharp, edge = at_blur(layer, 0.6)
    before, after = layer_blur(layer), layer_blur(sharp)
    assert before is not None
    assert after is not None
    assert after < 0.8 * before
    assert edge == 0
    np.testing.assert_array_equal(sharp.mask, layer.mask)
    inside = layer.rgba[..., 3] == 255
    shown, given = (one.rgba[inside][:, 0].astype(int) for one in (sharp, layer))
    assert shown.min() >= given.min() - 1
    assert shown.max() <= given.max() + 1

    def soft(one: Layer) -> int:
        return int(((one.rgba[..., 3] > 0) & (one.rgba[..., 3] < 255)).sum())

    assert soft(sharp) < soft(layer)  # the outline is steeper


def test_a_flat_layer_keeps_its_colour() -> None:
    car = placed(box_at(0.0, 9.0), (180, 60, 60))
    rgba, layer = car.layer.rgba, at_blur(car.layer, 1.0)[0]
    np.testing.assert_array_equal(layer.rgba, rgba)  # no edge inside: left alone
    half = rgba.copy()
    half[:, : rgba.shape[1] // 2, :3] = np.array([40, 120, 90]) * (half[:, : rgba.shape[1] // 2, 3:] > 0)
    two = at_blur(Layer(half, car.layer.depth, car.layer.left, car.layer.top, car.layer.full_bbox), 1.0)[0]
    far = np.abs(np.arange(rgba.shape[1]) - rgba.shape[1] // 2) > 6
    inside = (rgba[..., 3] == 255) & far
    np.testing.assert_allclose(two.rgba[inside].astype(int), half[inside].astype(int), atol=1)


def photograph(blur: float) -> Frame:
    """A road scene with structure of a known blur above the road."""
    frame = road_frame()
    picture = polygons(HEIGHT, WIDTH, blur).round().astype(np.uint8)
    return frame.with_(image=np.stack([picture] * 3))


def test_the_compositor_matches_the_photograph_and_repeats_itself() -> None:
    car = placed(box_at(0.0, 6.0))
    height, width = car.layer.depth.shape
    pattern = polygons(height, width, 0.4, 5)[..., None] * (car.layer.rgba[..., 3:] > 0)
    rgba = np.concatenate([np.repeat(pattern, 3, -1), car.layer.rgba[..., 3:]], -1).round().astype(np.uint8)
    sharp = Layer(rgba, car.layer.depth, car.layer.left, car.layer.top, car.layer.full_bbox)
    car = Placed("pattern", "Car", car.box, sharp)
    for blur in (0.7, 1.5):
        frame = photograph(blur)
        assert frame_blur(frame.image) == pytest.approx(blur, abs=0.2)
        out, again = (paint(frame, [car], Compositor(resolution=True)) for _ in range(2))
        np.testing.assert_array_equal(out.image, again.image)
        rows, columns = car.window.slices
        shown = out.image[1, rows, columns].astype(np.float32)
        inside = cv2.erode(sharp.mask.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert edge_blur(shown, inside) == pytest.approx(blur, abs=0.3)
        untouched = np.ones((HEIGHT, WIDTH), bool)
        untouched[max(rows.start - 2, 0) : rows.stop + 2, max(columns.start - 2, 0) : columns.stop + 2] = False
        np.testing.assert_array_equal(out.image[:, untouched], frame.image[:, untouched])
