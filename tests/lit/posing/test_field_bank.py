"""Baked fields: boxes fit, nothing is mirrored or turned, and what shows no object is left out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.object_classes import object_class
from datamodules.objects.labelled.cameras import TO_WORLD, camera_label
from datamodules.objects.labelled_views import LabelledViews
from datamodules.objects.studio import view_projection
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import DecodedPlanes
from lit.posing.field_bank import AXES, FieldBank, FieldBox, metric_dims, object_axes, occupied, solidified
from lit.rendering.bake import bake
from lit.rendering.camera_march import CameraMarch
from lit.rendering.orbit import ORBITS
from tests.lit.networks.pix2pix3d.small import around, label_maps, small
from tests.lit.posing.painted_block import BOX, HALF, MIDDLE, block_field

WORLDS = [("+x", "+y"), ("-z", "+y"), ("+y", "-x")]
positive = st.floats(0.05, 5.0)


@pytest.mark.parametrize("forward", AXES)
def test_axes_are_a_rotation_that_keeps_forward_and_up(forward: str) -> None:
    for up in AXES:
        if up[1] == forward[1]:
            with pytest.raises(InputError, match="two different axes"):
                object_axes(forward, up)
            continue
        axes = object_axes(forward, up)
        assert np.linalg.det(axes) == pytest.approx(1)
        for vector, name in (((1, 0, 0), forward), ((0, -1, 0), up)):
            world = axes @ np.array(vector)
            assert world["xyz".index(name[1])] == (1 if name[0] == "+" else -1)
    np.testing.assert_array_equal(object_axes("+x", "+y"), TO_WORLD)
    with pytest.raises(InputError, match="expected one of"):
        object_axes("x", "+y")


@pytest.mark.parametrize(("forward", "up"), WORLDS)
def test_the_asset_looks_as_the_field_at_eight_yaws(forward: str, up: str) -> None:
    axes = object_axes(forward, up)
    bank = FieldBank(forward=forward, up=up, shape=(48, 24, 28), cells=64)
    box = bank.box(block_field(axes))
    assert box is not None
    np.testing.assert_allclose(box.half, HALF, atol=BOX / 64)
    np.testing.assert_allclose(box.middle, MIDDLE, atol=BOX / 64)
    asset = VoxelAsset("block", "Car", 2 * box.half, bake(box.canonical(block_field(axes)), bank.shape))
    march, size = CameraMarch(0.6, 2.8, 48, 48), 32
    cameras = ORBITS["car"].cameras(8)
    with torch.no_grad():
        drawn = march(block_field(axes, raw=True, count=8), cameras, size)
    for camera, rgb, opacity in zip(cameras.numpy(), drawn.rgb.numpy(), drawn.opacity[:, 0].numpy()):
        rgba, _ = asset.render_window(box.projection(camera, size), 0, 0, size, size)
        mask, wanted = rgba[..., 3] > 127, opacity > 0.5
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.9
        both = mask & wanted
        assert np.median(np.abs(rgba[..., :3][both] / 255 - rgb.transpose(1, 2, 0)[both])) < 0.03
        assert np.abs(rgba[..., :3][both] / 255 - rgb.transpose(1, 2, 0)[both]).mean() < 0.08


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 360), st.floats(-5, 60), st.tuples(positive, positive, positive))
def test_the_box_projects_as_the_studio_does(azimuth: float, elevation: float, dims: tuple[float, ...]) -> None:
    metres, scale = np.array(dims), 0.2
    projection = view_projection(metres, azimuth, elevation, 64)
    label = camera_label(projection, metres, scale, 64)
    found = FieldBox(object_axes("+x", "+y"), np.zeros(3), metres * scale / 2).projection(label, 64)
    corners = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)
    seen = [corners @ matrix[:, :3].T + matrix[:, 3] for matrix in (projection, found)]
    pixels = [place[:, :2] / place[:, 2:] for place in seen]
    np.testing.assert_allclose(pixels[0], pixels[1], atol=1e-6)
    np.testing.assert_allclose(seen[0][:, 2] * scale, seen[1][:, 2], atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.tuples(positive, positive, positive), st.floats(0.1, 10))
def test_sizes_keep_proportions_and_the_classs_volume(extent: tuple[float, ...], unit: float) -> None:
    mean = np.array(object_class("Car").dims)
    dims = metric_dims(np.array(extent), mean)
    assert np.prod(dims) == pytest.approx(np.prod(mean))
    np.testing.assert_allclose(dims / dims[0], np.array(extent) / extent[0])
    np.testing.assert_allclose(metric_dims(unit * np.array(extent), mean), dims)
    np.testing.assert_allclose(metric_dims(unit * mean, mean), mean)


def test_small_parts_apart_do_not_widen_the_box() -> None:
    field = block_field(np.eye(3))

    def with_dust(features: torch.Tensor) -> Any:
        values, place = field.decode(features), features[:, :3] * (3 * BOX / 2)
        dust = (place - torch.tensor([-0.7, -0.7, 0.7])[:, None]).abs().amax(1) < 0.05
        return values._replace(density=values.density + 200.0 * dust)

    assert isinstance(field.planes, torch.Tensor)
    dusty = DecodedPlanes(field.planes, with_dust, "mean", field.axes, BOX)
    np.testing.assert_array_equal(occupied(dusty, 48), occupied(field, 48))


def views(count: int) -> LabelledViews:
    return LabelledViews(
        torch.zeros(count, 3, 16, 16),
        label_maps("segmentation", count),
        around(count),
        [f"a/{i}" for i in range(count)],
    )


def test_maps_become_assets_one_a_look_and_known_dims_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small().eval()
    asked: list[torch.Tensor] = []

    def field(planes: torch.Tensor) -> Any:
        asked.append(planes)
        return block_field(object_axes("+x", "+y"))

    monkeypatch.setattr(network, "field", field)
    bank = FieldBank(looks=2, shape=(16, 8, 8), cells=32, own_dims=True)
    assets = bank.assets(network, views(2), [None, np.array([4.0, 1.5, 1.8])])
    assert [asset.id for asset in assets] == ["a-0-0", "a-0-1", "a-1-0", "a-1-1"]
    assert [asset.grid.shape for asset in assets] == [(16, 8, 8, 4)] * 4
    np.testing.assert_allclose(np.prod(assets[0].dims), np.prod(object_class("Car").dims))
    np.testing.assert_array_equal(assets[3].dims, [4.0, 1.5, 1.8])
    assert not torch.equal(asked[0], asked[1])  # another latent
    bank.assets(network, views(1))
    assert torch.equal(asked[0], asked[4])  # that of the map and its number
    bank.own_dims = False
    assert not np.array_equal(bank.assets(network, views(1), [np.array([4.0, 1.5, 1.8])])[0].dims, [4.0, 1.5, 1.8])


def test_background_and_white_fog_are_no_part_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    network, block = small().eval(), block_field(object_axes("+x", "+y"))
    fogs = {"background": (0, 0.5), "white": (1, 1.0), "neither": (1, 0.5)}  # class and grey of what lies around
    found: dict[str, VoxelAsset | None] = {}
    for name, (label, grey) in fogs.items():

        def foggy(features: torch.Tensor, label: int = label, grey: float = grey) -> Any:
            values = block.decode(features)
            around = values.density <= 0
            assert values.parts is not None
            parts = torch.where(around[:, None], torch.eye(2)[label][None, :, None], values.parts)
            rgb = torch.where(around[:, None], grey, values.rgb)
            return values._replace(rgb=rgb, density=values.density + 50.0 * around, parts=parts)

        monkeypatch.setattr(network, "field", lambda _, foggy=foggy: replace(block, decode=foggy))
        bank = FieldBank(shape=(16, 8, 8), cells=32)
        found[name] = bank.asset(
            network, network.latents(torch.ones(1, 8), around(1), label_maps("segmentation", 1)), "a"
        )
    assert found["neither"] is None
    for name in ("background", "white"):
        asset = found[name]
        assert asset is not None
        np.testing.assert_allclose(asset.dims / asset.dims[0], HALF / HALF[0], atol=0.08)


def test_see_through_objects_become_opaque_and_look_the_same_before_white() -> None:
    shade = torch.tensor([0.1, 0.4, 0.0])

    def fog(thickness: float) -> Any:
        """A cube of one colour and this optical thickness, empty outside of its middle half."""

        def field(points: torch.Tensor) -> FieldValues:
            inside = (points.abs() < 0.5).all(-1)
            return FieldValues(shade[None, :, None].expand(len(points), 3, points.shape[1]), thickness * inside)

        return field

    middle = torch.zeros(1, 1, 3)
    values = solidified(fog(1.5), 0.95)(middle)
    assert float(1 - (-values.density[0, 0]).exp()) == pytest.approx(0.95, abs=1e-5)
    before, after = math.exp(-1.5), 0.05
    torch.testing.assert_close(values.rgb[0, :, 0] * (1 - after) + after, shade * (1 - before) + before)
    assert float(solidified(fog(1.5), 0.95)(torch.full((1, 1, 3), 0.9)).density) == 0
    for left in (fog(5.0), fog(0.1)):  # opaque already; nothing there
        assert solidified(left, 0.95) is left


def test_empty_fields_and_fog_give_no_asset() -> None:
    bank, network = FieldBank(cells=16), small().eval()
    for density in (-20.0, 20.0):
        network.decoder.label.heads.bias.data[0] = density
        assert bank.assets(network, views(1)) == []


def test_wrong_settings_are_one_line() -> None:
    for options, says in (
        ({"looks": 0}, "bank looks 0: expected at least 1"),
        ({"dims": (1.0, 0.0, 1.0)}, "in metres"),
        ({"shape": (1, 2, 2)}, "bank shape 1"),
        ({"white": (0.9, 0.9)}, "bank white"),
        ({"opaque": 1.0}, "bank opaque 1.0: expected 0.5 to below 1"),
    ):
        with pytest.raises(InputError, match=says):
            FieldBank(**options)
    assert math.isclose(FieldBank().mean[0], object_class("Car").dims[0])
