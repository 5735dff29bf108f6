"""Posed views: angles, projections, buffers, and reproducible folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from datamodules.errors import InputError
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio import render_views, spread_angles, view_projection, write_posed_images
from datamodules.shapes.meshes import car
from datamodules.shapes.paints import Paints
from datamodules.shapes.primitives import HEADLIGHT, TAILLIGHT

PAINTS: tuple[Paints, ...] = ("studio", "street")


def test_views_show_the_named_sides() -> None:
    thing = car("studio", 2)
    views = render_views(thing, [0, 90, 180, 270], [5, 5, 5, 5], 64)
    count = lambda i, part: int((views["parts"][i] == part).sum())  # noqa: E731
    assert count(0, HEADLIGHT) > 2
    assert count(0, TAILLIGHT) == 0
    assert count(2, TAILLIGHT) > 2
    assert count(2, HEADLIGHT) == 0
    for i, sign in ((1, -1), (3, 1)):  # seen from its left the car looks to the image's left
        left = views["projection"][i] @ [1, 0, 0, 1]
        assert np.sign(left[0] / left[2] - 31.5) == sign


def test_buffers_agree_with_each_other_and_with_the_projection() -> None:
    thing = car("studio", 0)
    views = render_views(thing, [30.0, 200.0], [0.0, 20.0], 64)
    for i in range(2):
        solid = views["rgba"][i, ..., 3] > 127
        assert 0.05 < solid.mean() < 0.7
        assert (views["depth"][i][solid] > 0).all()
        assert (views["parts"][i][solid] > 0).all()
        assert (views["parts"][i][~solid] == 0).all()
        length = np.linalg.norm(views["normals"][i][solid].astype(float), axis=-1) / 127
        np.testing.assert_allclose(length, 1, atol=0.02)
        assert views["edges"][i].any()
        # Unprojected depth lies inside the canonical cube.
        projection = views["projection"][i]
        v, u = np.nonzero(views["rgba"][i, ..., 3] == 255)
        depth = views["depth"][i][v, u].astype(float)
        pixels = np.stack([u * depth, v * depth, depth])
        points = np.linalg.solve(projection[:, :3], pixels - projection[:, 3:])
        assert np.abs(points).max() < 1.1


def test_elevation_looks_down_and_the_object_fits() -> None:
    dims = np.array([4.5, 1.5, 1.7])
    corners = np.array([[x, y, z, 1] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]).T
    for azimuth in range(0, 360, 15):
        for elevation in (0, 10, 20):
            projection = view_projection(dims, azimuth, elevation, 64)
            uvw = projection @ corners
            uv = uvw[:2] / uvw[2]
            assert uv.min() > -0.5
            assert uv.max() < 63.5
    roof, floor = (view_projection(dims, 0, 20, 64) @ [0, y, 0, 1] for y in (-1, 1))
    assert roof[2] < floor[2]  # from above the roof is nearer
    assert roof[1] / roof[2] < floor[1] / floor[2]  # and higher in the image


def test_angles_cover_the_circle_and_the_range() -> None:
    azimuths, elevations = spread_angles(60, (0, 20), np.random.default_rng(0))
    assert np.diff(np.sort(azimuths)).max() < 6.5
    assert elevations.min() >= 0
    assert elevations.max() <= 20
    assert elevations.max() - elevations.min() > 18


def test_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_posed_images(tmp_path / str(workers), objects=2, views=3, size=16, workers=workers)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes(), path.name
    write_posed_images(tmp_path / "1", objects=2, views=3, size=16)  # complete: returns at once
    with pytest.raises(InputError, match="another posed image set"):
        write_posed_images(tmp_path / "1", objects=3, views=3, size=16)
    index = tmp_path / "1" / "posed.json"
    whole = index.read_bytes()
    for text in ("[1]", "", '{"objects": 5}'):
        index.write_text(text)
        with pytest.raises(InputError, match=r"posed\.json: differs from its checksum"):
            write_posed_images(tmp_path / "1", objects=2, views=3, size=16)
    index.unlink()  # as after an interruption
    write_posed_images(tmp_path / "1", objects=2, views=3, size=16)
    assert index.read_bytes() == whole
    index.rename(index.with_name("notes.json"))
    with pytest.raises(InputError, match=r"holds notes\.json and no posed\.json"):
        write_posed_images(tmp_path / "1", objects=2, views=3, size=16)


def test_street_paints_make_another_set_of_the_same_bodies(tmp_path: Path) -> None:
    for paints in PAINTS:
        write_posed_images(tmp_path / paints, objects=1, views=3, size=16, workers=1, paints=paints)
    plain, street = (PosedImageSet.load(tmp_path / paints) for paints in PAINTS)
    assert street.source == f"{plain.source} paints=street"
    assert street.ids == plain.ids
    np.testing.assert_array_equal(street.projection, plain.projection)
    np.testing.assert_array_equal(street.rgba[..., 3], plain.rgba[..., 3])
    assert not np.array_equal(street.rgba, plain.rgba)
    with pytest.raises(InputError, match="another posed image set"):
        write_posed_images(tmp_path / "studio", objects=1, views=3, size=16, paints="street")


def test_cad_folder_becomes_a_posed_set(tmp_path: Path) -> None:
    trimesh.creation.box((4, 1.7, 1.5)).export(tmp_path / "cube.ply")
    write_posed_images(tmp_path / "set", objects=5, views=4, size=16, population=str(tmp_path), workers=1)
    posed = PosedImageSet.load(tmp_path / "set")
    assert posed.ids == ("cube",)
    np.testing.assert_allclose(posed.dims, [[4, 1.5, 1.7]], atol=1e-5)


def test_bad_arguments_are_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        ({"objects": 0}, "objects=0"),
        ({"size": 2}, "size=2"),
        ({"elevation": (20.0, 0.0)}, "elevation"),
        ({"population": str(tmp_path / "nothing")}, "nothing"),
        ({"population": str(tmp_path), "paints": "street"}, "CAD files keep their own"),
        ({"paints": "matt"}, "paints 'matt'"),
    ):
        with pytest.raises(InputError, match=message):
            write_posed_images(tmp_path / "set", **arguments)
    with pytest.raises(InputError, match="azimuths"):
        render_views(car("studio", 0), [0, 1], [0])
