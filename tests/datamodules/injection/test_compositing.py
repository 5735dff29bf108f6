from __future__ import annotations

import cv2
import numpy as np
import pytest

from datamodules.assets.contract import Layer
from datamodules.geometry import Boxes3D, canonical_projection, projected_bbox
from datamodules.injection.compositing import Compositor, Placed
from datamodules.injection.harmonise import harmonise, noise_level
from datamodules.injection.occlusion import Backdrop, Knowledge
from datamodules.light import Light
from datamodules.scene import Frame
from tests.datamodules.injection_scenes import CAMERA, SolidAsset, box_at, label_of, road_frame


def placed(box: Boxes3D, colour: tuple[int, int, int] = (200, 30, 30), id: str = "solid") -> Placed:
    layer = SolidAsset(id, colour).render(CAMERA, box)
    assert layer is not None
    return Placed(id, "Car", box, layer)


def paint(frame: Frame, objects: list[Placed], compositor: Compositor | None = None, shadow: bool = False) -> Frame:
    compositor = compositor or Compositor()
    backdrop = compositor.backdrop(frame)
    return compositor.paint(backdrop, compositor.arrange(backdrop, objects).objects, shadow)


def pixel(frame: Frame, point: tuple[float, float, float]) -> np.ndarray:
    (u, v), _ = CAMERA.project(np.array(point))
    return frame.image[:, round(v), round(u)].astype(int)


def test_backdrop_bounds_equal_the_projected_boxes() -> None:
    real = Boxes3D.concatenate([box_at(-2, 12, 0.3), box_at(1, 1.2, 0.4), box_at(0, -9), box_at(5, 40, 2.0)])
    backdrop = Backdrop(road_frame(real[[0]]).with_(objects=label_of(real)), "boxes")
    np.testing.assert_allclose(backdrop._bbox, projected_bbox(CAMERA, real, clip=False))
    np.testing.assert_allclose(backdrop._projection, canonical_projection(CAMERA, real), atol=1e-9)


def test_a_white_object_on_white_leaves_all_white() -> None:
    frame = road_frame(grey=255)
    for feather in (0.0, 1.0, 1.5):
        for depth in (6.0, 15.0, 40.0):
            out = paint(frame, [placed(box_at(1.0, depth, -1.2), (255, 255, 255))], Compositor(feather=feather))
            assert (out.image == 255).all()


def test_soft_premultiplied_edges_leave_no_dark_halo() -> None:
    box = box_at(0.5, 9.0)
    sharp = placed(box, (240, 240, 240))
    alpha = sharp.layer.rgba[..., 3].astype(float)
    for _ in range(2):  # an antialiased edge three pixels wide
        alpha[1:-1, 1:-1] = (alpha[:-2, 1:-1] + alpha[2:, 1:-1] + alpha[1:-1, :-2] + alpha[1:-1, 2:]) / 4
    rgba = (
        np.concatenate([np.repeat(240 * alpha[..., None] / 255, 3, -1), alpha[..., None]], -1).round().astype(np.uint8)
    )
    layer = Layer(rgba, sharp.layer.depth, sharp.layer.left, sharp.layer.top, sharp.layer.full_bbox)
    out = paint(road_frame(grey=200), [Placed("soft", "Car", box, layer)])
    assert out.image.min() >= 199
    assert out.image.max() <= 243


def test_colours_inside_are_the_objects_own() -> None:
    out = paint(road_frame(), [placed(box_at(0.0, 8.0))])
    assert pixel(out, (0.0, 1.0, 6.2)).tolist() == [200, 30, 30]


def test_the_input_frame_is_left_alone() -> None:
    frame = road_frame(box_at(2, 20), buffers=True)
    assert frame.road is not None
    assert frame.depth is not None
    assert frame.instances is not None
    before = [frame.image.copy(), frame.road.copy(), frame.depth.copy(), frame.instances.copy()]
    paint(frame, [placed(box_at(-1, 10))], shadow=True)
    for old, new in zip(before, [frame.image, frame.road, frame.depth, frame.instances]):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("knowledge", ["depth", "instances", "boxes"])
def test_a_nearer_real_car_hides_the_new_one(knowledge: Knowledge) -> None:
    frame = road_frame(box_at(0.0, 10.0), buffers=True)
    compositor = Compositor(occluders=knowledge)
    behind, before = placed(box_at(0.8, 18.0)), placed(box_at(0.8, 5.5))
    out = paint(frame, [behind], compositor)
    real = frame.instances == 1
    if knowledge == "boxes":  # the box is carved to the outline of a car
        assert pixel(out, (0.0, 1.2, 8.1)).tolist() == [20, 40, 220]
    else:
        np.testing.assert_array_equal(out.image[:, real], frame.image[:, real])
    arranged = compositor.arrange(compositor.backdrop(frame), [behind]).objects[0]
    assert 0.3 < arranged.hidden_share < 1.0
    out = paint(frame, [before], compositor)
    assert pixel(out, (0.8, 0.5, 3.6)).tolist() == [200, 30, 30]
    assert compositor.arrange(compositor.backdrop(frame), [before]).objects[0].hidden_share == 0.0


def test_new_objects_hide_each_other_by_depth_whatever_their_order() -> None:
    near, far = placed(box_at(0.0, 9.0), (10, 200, 10), "near"), placed(box_at(0.6, 16.0), (200, 10, 10), "far")
    frame, compositor = road_frame(), Compositor()
    first, second = paint(frame, [near, far]), paint(frame, [far, near])
    np.testing.assert_array_equal(first.image, second.image)
    assert pixel(first, (0.2, 1.0, 7.2)).tolist() == [10, 200, 10]
    arrangement = compositor.arrange(compositor.backdrop(frame), [near, far])
    assert [p.id for p in arrangement.objects] == ["far", "near"]
    assert arrangement.objects[0].hidden_share > 0.3
    assert arrangement.objects[1].hidden_share == 0.0


def test_the_shadow_darkens_the_ground_and_stays_out_of_the_mask() -> None:
    box = box_at(0.0, 10.0)
    frame = road_frame(buffers=True)
    lit, shaded = paint(frame, [placed(box)], shadow=False), paint(frame, [placed(box)], shadow=True)
    beside = pixel(shaded, (0.9, 1.65, 9.0))
    assert (beside < pixel(lit, (0.9, 1.65, 9.0)) - 10).all()
    assert (pixel(shaded, (3.0, 1.65, 10.0)) == 120).all()
    np.testing.assert_array_equal(lit.instances, shaded.instances)
    darkened = (shaded.image != lit.image).any(0)
    assert darkened.any()
    assert shaded.instances is not None
    inside = cv2.erode(shaded.instances, np.ones((5, 5), np.uint8)) > 0  # the feathered rim shows some ground
    assert not (darkened & inside).any()
    assert (shaded.image[:, : int(CAMERA.projection[1, 2])] == lit.image[:, : int(CAMERA.projection[1, 2])]).all()


def test_the_shadow_falls_on_no_nearer_real_car() -> None:
    frame = road_frame(box_at(0.0, 8.0), buffers=True)
    for knowledge in ("depth", "instances"):
        out = paint(frame, [placed(box_at(0.0, 13.0))], Compositor(occluders=knowledge), shadow=True)
        real = frame.instances == 1
        np.testing.assert_array_equal(out.image[:, real], frame.image[:, real])


def test_the_sun_moves_the_shadow() -> None:
    frame = road_frame().with_(light=Light(np.array([-0.7, -0.7, 0.0])))  # from the left
    out = paint(frame, [placed(box_at(0.0, 12.0))], Compositor(shadow_strength=0.0, sun_strength=0.6), shadow=True)
    assert (pixel(out, (1.6, 1.65, 12.0)) < 100).all()
    assert (pixel(out, (-1.6, 1.65, 12.0)) == 120).all()


def test_buffers_follow_the_picture() -> None:
    frame = road_frame(box_at(2.5, 20.0), buffers=True)
    out = paint(frame, [placed(box_at(-1.5, 10.0))])
    assert out.instances is not None
    assert out.depth is not None
    assert frame.instances is not None
    new = out.instances == 2
    assert new.any()
    assert (out.instances[~new] == frame.instances[~new]).all()
    assert (out.depth[new] > 7).all()
    assert (out.depth[new] < 12.5).all()


def test_small_objects_are_blurred_less() -> None:
    def growth(depth: float) -> float:
        p = placed(box_at(0.0, depth))
        changed = (paint(road_frame(), [p]).image != 120).any(0).sum()
        return changed / p.layer.mask.sum()

    assert growth(45.0) < 1.05
    assert growth(6.0) < 1.25


def test_colour_match_draws_luminance_to_the_scene() -> None:
    frame = road_frame(grey=40)
    plain = pixel(paint(frame, [placed(box_at(0.0, 8.0), (220, 220, 220))]), (0.0, 1.0, 6.2))
    matched = pixel(
        paint(frame, [placed(box_at(0.0, 8.0), (220, 220, 220))], Compositor(colour_match=0.2)), (0.0, 1.0, 6.2)
    )
    assert (matched < plain - 10).all()
    assert (matched > 120).all()


def test_noise_level_is_measured() -> None:
    rng = np.random.default_rng(0)
    for sigma in (1.0, 4.0, 8.0):
        image = np.clip(np.linspace(60, 180, 320) + rng.normal(0, sigma, (3, 96, 320)), 0, 255).round().astype(np.uint8)
        assert abs(noise_level(image) - sigma) < 0.15 * sigma + 0.1


def test_objects_take_on_noise_and_haze() -> None:
    rng = np.random.default_rng(0)
    frame = road_frame()
    bright_sky = np.where(np.arange(96)[:, None] < 44, 220, frame.image)
    noisy = np.clip(bright_sky + rng.normal(0, 6, frame.image.shape), 0, 255).astype(np.uint8)
    frame, box = frame.with_(image=noisy), box_at(0.0, 12.0)
    compositor = Compositor(noise=True, haze=60.0)
    backdrop = compositor.backdrop(frame)
    objects = compositor.arrange(backdrop, [placed(box)]).objects
    out = compositor.paint(backdrop, objects, shadow=False, rng=np.random.default_rng(1))
    inside = cv2.erode(objects[0].visible.view(np.uint8), np.ones((7, 7), np.uint8)) > 0
    colours = out.image.transpose(1, 2, 0)[objects[0].window.slices][inside].astype(float)
    assert 3 < colours.std(0).mean() < 9
    assert (colours.mean(0) > np.array([190, 60, 60])).all()  # plain (200, 30, 30) drawn to bright air
    again = compositor.paint(backdrop, objects, shadow=False, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(out.image, again.image)


def test_grain_and_haze_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    alpha = rng.integers(0, 256, (20, 30, 1))
    rgba = np.concatenate([rng.integers(0, 256, (20, 30, 3)) * alpha // 255, alpha], -1).astype(np.uint8)
    layer, air = Layer(rgba, np.ones((20, 30), np.float32), 3, 4, np.zeros(4)), np.array([200.0, 210.0, 220.0])
    found = harmonise(layer, 30.0, air, 90.0, 4.0, np.random.default_rng(5)).rgba
    opacity, clear = rgba[..., 3:].astype(float), np.exp(-30.0 / 90.0)
    light = clear * (rgba[..., :3] / np.maximum(opacity, 1)).clip(0, 1) ** 2.2 + (1 - clear) * (air / 255) ** 2.2
    grain = np.random.default_rng(5).standard_normal((20, 30, 3), dtype=np.float32)
    expected = np.clip(255 * light ** (1 / 2.2) + 4.0 * grain, 0, 255) * opacity / 255
    assert np.abs(found[..., :3] - expected).max() <= 0.51
    np.testing.assert_array_equal(found[..., 3], rgba[..., 3])
    assert harmonise(layer, 30.0, None, 0.0, 4.0, None).rgba.tobytes() == rgba.tobytes()
