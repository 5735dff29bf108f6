"""What the ground tells about a frame's light is what was put into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D
from datamodules.injection.compositing import Compositor
from datamodules.injection.scene_light import ASPHALT, CONTACT, dark_level, ground_around, light_gain, scene_light
from datamodules.injection.shadow import Shadow
from datamodules.scene import Frame, Objects
from datamodules.shapes.shading import GAMMA
from tests.datamodules.injection.test_compositing import paint, placed
from tests.datamodules.injection_scenes import CAMERA, HEIGHT, WIDTH, box_at, label_of, road_frame

CARS = Boxes3D.concatenate([box_at(-2.5, 9.0), box_at(1.8, 12.0), box_at(-1.0, 20.0)])


def shaded(strength: float, grey: int = 120) -> Frame:
    """A road with labelled cars whose contact shadows are painted with a known darkness."""
    frame = road_frame(grey=grey, half_width=8.0)
    image = frame.image.transpose(1, 2, 0).copy()
    for row in range(len(CARS)):
        shadow = Shadow(CAMERA, CARS[[row]])
        shadow.darken(image, np.full((shadow.window.height, shadow.window.width), np.inf, np.float32), strength)
    return frame.with_(image=image.transpose(2, 0, 1), objects=label_of(CARS))


def test_darkness_under_cars_is_that_of_the_painted_shadows() -> None:
    found = [scene_light(shaded(strength)).contact for strength in (0.1, 0.5, 0.85)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.1, abs=0.15)  # drawn to the prior
    assert found[1] == pytest.approx(0.5, abs=0.08)
    assert found[2] == pytest.approx(0.85, abs=0.12)


def test_ground_is_its_linear_colour() -> None:
    frame = road_frame(grey=90)
    expected = (90 / 255) ** GAMMA
    assert ground_around(frame, box_at(0, 10)) == pytest.approx([expected] * 3)
    light = scene_light(shaded(0.5, 90))
    assert light.ground is not None
    assert light.ground == pytest.approx([expected] * 3, rel=0.15)


def test_a_frame_without_vehicles_tells_nothing() -> None:
    frame = road_frame().with_(objects=Objects.empty())
    assert scene_light(frame).ground is None
    assert scene_light(frame).contact == CONTACT
    above = Boxes3D.single(np.array([0, -30.0, 10]), np.array([3.9, 1.5, 1.6]), 0.0)  # no ground in the picture
    assert light_gain(frame, above, scene_light(frame), 1.0, 1.0) is None


def test_asphalt_as_in_the_bake_leaves_an_object_as_it_is_and_a_darker_one_darkens_it() -> None:
    neutral = round(255 * ASPHALT ** (1 / GAMMA))
    car, full = placed(box_at(0, 10), (180, 60, 60)), Compositor(feather=0.0, exposure=1.0, white_balance=1.0)
    rows, columns = car.window.slices
    middle = (slice(None), (rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2)
    same = paint(road_frame(grey=neutral), [car], full)
    assert same.image[middle] == pytest.approx([180, 60, 60], abs=2)
    dark = paint(road_frame(grey=neutral // 2), [car], full)
    assert dark.image[middle] == pytest.approx([90, 30, 30], abs=3)
    half = paint(road_frame(grey=neutral // 2), [car], Compositor(feather=0.0, exposure=0.5))
    assert dark.image[middle].sum() < half.image[middle].sum() < same.image[middle].sum()


def test_a_yellow_light_tints_and_keeps_the_brightness() -> None:
    frame = road_frame()
    tint = np.array([1.15, 1.0, 0.85]) ** (1 / GAMMA)
    image = np.broadcast_to((120 * tint).round().astype(np.uint8)[:, None, None], (3, HEIGHT, WIDTH))
    gain = light_gain(frame.with_(image=image), box_at(0, 10), scene_light(frame), 0.0, 1.0)
    assert gain is not None
    assert gain == pytest.approx([1.15, 1.0, 0.85], rel=0.03)
    assert gain.mean() == pytest.approx(1.0, abs=0.01)


def test_contact_shadows_as_the_scene_has_them() -> None:
    box = box_at(1.0, 30.0)
    shades = []
    for strength in (0.1, 0.85):
        before = shaded(strength)
        after = paint(before, [placed(box)], Compositor(shadow_strength="scene"), shadow=True)
        shades.append(int((before.image.astype(int) - after.image).clip(0)[0].sum()))
    assert shades[0] < 0.5 * shades[1]


def test_shares_beyond_one_are_refused() -> None:
    for name in ("exposure", "white_balance", "shadow_strength"):
        wrong: dict[str, Any] = {name: 1.5}
        with pytest.raises(InputError, match=f"{name} 1.5: expected 0 to 1"):
            Compositor(**wrong)


def test_dark_parts_are_drawn_down_to_those_of_labelled_vehicles_and_white_stays() -> None:
    frame = shaded(0.5)
    image = frame.image.copy()
    for left, top, right, bottom in frame.objects.bbox.round().astype(int):
        image[:, max(top, 0) : bottom + 1, max(left, 0) : right + 1] = 150
        image[:, (top + bottom) // 2 : bottom + 1, max(left, 0) : right + 1] = 12
    frame = frame.with_(image=image)
    assert dark_level(frame) == pytest.approx(12, abs=2)
    assert dark_level(frame.with_(objects=Objects.empty())) <= 120  # the picture's lower half, where no vehicle tells
    car = placed(box_at(0, 5.0), (255, 255, 255))
    rgba = car.layer.rgba.copy()
    half = rgba.shape[0] // 2
    rgba[half:, :, :3] = np.where(rgba[half:, :, 3:] > 0, 60, 0)
    car = replace(car, layer=replace(car.layer, rgba=rgba))
    rows, columns = car.window.slices
    column = (columns.start + columns.stop) // 2
    out = paint(frame, [car], Compositor(feather=0.0, black_level=True))
    assert out.image[:, rows.stop - 4, column] == pytest.approx([12] * 3, abs=4)
    assert out.image[:, rows.start + half // 2, column] == pytest.approx([255] * 3, abs=1)
    black = replace(car, layer=replace(car.layer, rgba=np.where([True, True, True, False], rgba // 12, rgba)))
    same = paint(frame, [black], Compositor(feather=0.0, black_level=True))  # what is darker is not lifted
    np.testing.assert_array_equal(same.image, paint(frame, [black], Compositor(feather=0.0)).image)
