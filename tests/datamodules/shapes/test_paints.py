"""Street paints: their shares, on unchanged bodies, with reflections that do not depend on the view."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.light import Light
from datamodules.shapes.meshes import car
from datamodules.shapes.paints import STREET, street_paint
from datamodules.shapes.primitives import GLASS, HEADLIGHT, PAINT, PLATE, TAILLIGHT, TRIM, TYRE
from datamodules.shapes.shading import shade


def test_shares_are_those_of_the_statistics() -> None:
    assert sum(paint.share for paint in STREET) == pytest.approx(1)
    rng = np.random.default_rng(0)
    drawn = np.array([street_paint(rng) for _ in range(4000)])
    brightest, darkest = drawn.max(1), drawn.min(1)
    grey = brightest < 1.15 * darkest
    assert grey.mean() == pytest.approx(0.74, abs=0.03)  # black, grey, silver and white
    assert (grey & (brightest < 0.03)).mean() == pytest.approx(0.29, abs=0.03)
    assert (grey & (darkest > 0.5)).mean() == pytest.approx(0.08, abs=0.02)
    hues = drawn[~grey]
    assert (hues.argmax(1) == 2).mean() == pytest.approx(0.125 / 0.26, abs=0.06)  # blue leads
    assert brightest.max() < 0.9
    assert darkest.min() > 0


def test_a_car_in_street_paint_keeps_its_body() -> None:
    for index in range(6):
        thing, other = (car("studio", index).mesh, car("studio", index, paints="street").mesh)
        np.testing.assert_array_equal(thing.triangles, other.triangles)
        sills = np.isin(thing.part, (PAINT, TRIM)) & np.isin(other.part, (PAINT, TRIM))  # painted or plastic
        np.testing.assert_array_equal(thing.part[~sills], other.part[~sills])
        assert not np.array_equal(thing.colour, other.colour)
        assert other.colour[other.part == GLASS].max() < 0.02
        assert other.colour[other.part == TYRE].max() < 0.02
        plates = other.colour[other.part == PLATE]
        assert plates.min() > 0.5  # white at both ends
        tail, head = other.colour[other.part == TAILLIGHT], other.colour[other.part == HEADLIGHT]
        assert (tail[:, 0] > 10 * tail[:, 1]).all()
        assert np.ptp(head, axis=1).max() < 0.05


def test_unknown_paints_are_named() -> None:
    with pytest.raises(InputError, match="paints 'matt': expected one of studio, street"):
        car("studio", 0, paints="matt")


def test_street_reflections_are_the_same_from_everywhere() -> None:
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(60, 3)).astype(np.float32)
    normals[0] = 0, -1, 0
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    black, gloss, part = np.full((60, 3), 0.01, np.float32), np.ones(60, np.float32), np.ones(60, np.uint8)

    def seen(light: Light) -> list[np.ndarray]:
        looks = [-normals + 0.5 * rng.normal(size=normals.shape) for _ in range(2)]
        looks = [(look / np.linalg.norm(look, axis=1, keepdims=True)).astype(np.float32) for look in looks]
        return [shade(normals, look, black, gloss, part, np.ones(60, np.float32), light) for look in looks]

    still = seen(Light(ambient=1.0, level_eye=0.14))
    np.testing.assert_array_equal(still[0], still[1])
    assert np.isfinite(still[0]).all()
    assert np.abs(np.subtract(*seen(Light(ambient=1.0)))).max() > 0.01
    side = int(np.abs(normals[:, 1]).argmin())
    assert still[0][0].mean() > 3 * still[0][side].mean()  # a black roof mirrors the sky, a door the houses opposite
