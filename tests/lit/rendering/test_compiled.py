"""The compiled tri-plane renderer and baker against torch, on the bench's car."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.assets.voxels.voxel_render import OPACITY_STEP, render_voxels
from datamodules.errors import InputError
from lit.commands.bench.field import HALF, car_field, ground_truth, two_pass
from lit.commands.bench.render import quality, view
from lit.networks.fields.planes import EG3D_AXES, EG3D_CORRECTED_AXES, Axes, DecodedPlanes, plane_levels
from lit.networks.fields.softplus_decoder import SoftplusDecoder
from lit.rendering.bake import bake
from lit.rendering.compiled import CompiledField, _softplus, compiled_field
from lit.rendering.render import render_image


@pytest.fixture(scope="module")
def field() -> DecodedPlanes:
    return car_field()


@pytest.fixture(scope="module")
def compiled(field: DecodedPlanes) -> CompiledField:
    return compiled_field(field)


def test_softplus_fit() -> None:
    x = np.linspace(-30, 60, 2001, dtype=np.float32)
    fitted = np.array([_softplus(v) for v in x])
    assert np.abs(fitted - np.logaddexp(0, x.astype(np.float64))).max() < 5e-5


def test_renderers_agree_with_many_samples(field: DecodedPlanes, compiled: CompiledField) -> None:
    projection, window = view(48)
    truth = ground_truth(field, projection, window).numpy()
    assert 0.1 < (truth[..., 3] > 0.5).mean() < 0.6  # a compact object in the crop
    exact, depth = compiled.render(projection, window, HALF, 1 / 32)
    assert quality(exact, truth)["psnr"] > 45
    assert quality(exact, truth)["mask_iou"] > 0.99
    middle = depth[exact[..., 3] > 0.9]
    assert middle.min() > 9
    assert middle.max() < 15
    box = projection.copy()
    box[:, :3] *= HALF
    baked = render_voxels(compiled.bake(half=HALF), box, *window, unit=HALF)[0] / 255
    assert quality(baked, truth)["psnr"] > 38
    assert quality(two_pass(field, projection, window), truth)["psnr"] > 40


@pytest.mark.parametrize("axes", [EG3D_AXES, EG3D_CORRECTED_AXES])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_a_network_is_drawn_and_baked_alike_by_torch_and_compiled_code(axes: Axes, reduce: str) -> None:
    """Random planes of EG3D's layout in a box of 1.6: previews, baked grids, and both against each other."""
    torch.manual_seed(0)
    planes, decoder = torch.randn(1, 3, 8, 8, 8) * (6 if reduce == "mean" else 2), SoftplusDecoder(8, features=5)
    planes = torch.nn.functional.pad(planes, (1, 1, 1, 1))  # the loops clamp at the border, torch fades to nothing
    decoder.heads.weight.data[0] *= 8
    field = DecodedPlanes(planes, decoder, reduce, axes, box=1.6)
    with torch.no_grad():  # fog in a part of space, next to nothing elsewhere
        raw = replace(field, decode=decoder.raw)(torch.rand(1, 4000, 3) * 1.6 - 0.8).density
        decoder.heads.bias[0] -= raw.mean() + raw.std()
    compiled, projection = compiled_field(field), view(32)[0]
    window = view(32)[1]
    cube = projection.copy()
    cube[:, :3] /= 0.8  # the same camera for points of the field's own frame, where the box is 1.6 wide
    image = render_image(field, torch.from_numpy(cube), 32, 32, 256, half=0.8, corner=window[:2])
    rgba, depth = compiled.render(projection, window, step=1 / 128)
    assert 0.1 < float((image.opacity > 0.5).float().mean()) < 0.9
    assert quality(rgba, image.rgba)["psnr"] > 40
    solid = rgba[..., 3] > 0.5
    assert np.abs(depth - image.depth.numpy())[solid].mean() < 0.05
    grids = [grid.astype(int) for grid in (compiled.bake((24, 20, 22)), bake(field, (24, 20, 22), half=0.8))]
    seen = grids[1][..., 3] > 6  # both leave colour to the neighbours where there is next to nothing
    assert seen.sum() > 500
    assert np.abs(grids[0] - grids[1])[seen].max() <= 2


def test_only_what_the_loops_can_draw_is_compiled(field: DecodedPlanes) -> None:
    with pytest.raises(InputError, match="one level of planes"):
        compiled_field(replace(field, planes=plane_levels(field.planes, 2)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="6 features and 64 hidden"):
        compiled_field(DecodedPlanes(torch.zeros(1, 3, 6, 8, 8), SoftplusDecoder(6)))


def test_baked_voxels_hold_the_field(field: DecodedPlanes, compiled: CompiledField) -> None:
    shape = (32, 13, 14)
    grid = compiled.bake(shape, HALF)
    centres = np.stack(np.meshgrid(*[(2 * np.arange(n) + 1) / n - 1 for n in shape], indexing="ij"), -1) * HALF
    with torch.no_grad():
        values = field(torch.from_numpy(centres.reshape(1, -1, 3)).float())
    opacity = 1 - torch.exp(-values.density * OPACITY_STEP)
    expected = (opacity * 255).reshape(shape).numpy()
    assert np.abs(grid[..., 3] - expected).max() < 2.5
    seen = expected > 3
    assert np.abs(grid[..., :3] - 255 * values.rgb[0].t().reshape(*shape, 3).numpy())[seen].max() < 1.5


def test_nothing_lies_in_cells_marked_empty(field: DecodedPlanes, compiled: CompiledField) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (20000, 3))
    cells = ((points + 1) * 32).astype(int).clip(0, 63)
    empty = compiled.occupancy[tuple(cells.T)] > 0
    with torch.no_grad():
        density = field(torch.from_numpy(points[None, empty]).float()).density
    assert float(density.max()) < 1.0
