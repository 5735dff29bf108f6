from __future__ import annotations

import numpy as np
import torch

from datamodules.assets.voxels.voxel_assets import OPACITY_STEP
from datamodules.assets.voxels.voxel_render import render_voxels
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import DecodedPlanes
from lit.networks.fields.triplane_field import TriplaneField
from lit.rendering.bake import bake, bleed, voxel_centers
from lit.rendering.render import render_image
from tests.lit.posed_boxes import orbit_projection


def test_opacity_is_that_of_one_step() -> None:
    def decode(features: torch.Tensor) -> FieldValues:
        count = features.shape[2]
        return FieldValues(torch.full((1, 3, count), 0.4), torch.full((1, count), 20.0))

    field = DecodedPlanes(torch.zeros(1, 3, 2, 8, 8), decode)
    grid = bake(field, (6, 4, 5))
    assert grid.shape == (6, 4, 5, 4)
    assert (grid[..., 3] == round(255 * (1 - np.exp(-20 * OPACITY_STEP)))).all()
    assert (grid[..., :3] == 102).all()
    half = bake(field, (6, 4, 5), half=0.5)  # a smaller cube: the same path is shorter in the field's frame
    assert (half[..., 3] == round(255 * (1 - np.exp(-10 * OPACITY_STEP)))).all()


def test_any_field_bakes_as_planes_do() -> None:
    torch.manual_seed(0)
    network = TriplaneField(16, 4, 256, 16, 8, 8)
    field = network.field(*network(torch.randn(1, network.synthesis.rows, 8)))
    by_points = bake(lambda points: field(points), (9, 6, 4), slab=4)
    assert np.abs(bake(field, (9, 6, 4)).astype(int) - by_points).max() <= 1


def test_bleed_colours_empty_neighbours_only() -> None:
    colour, alpha = torch.zeros(3, 5, 5, 5), torch.zeros(5, 5, 5)
    colour[:, 2, 2, 2], alpha[2, 2, 2] = 0.7, 1.0
    out = bleed(colour, alpha)
    assert torch.allclose(out[:, 1, 2, 3], torch.full((3,), 0.7))
    assert (out[:, 0, 0, 0] == 0).all()


def test_baked_grid_renders_like_the_field() -> None:
    """An opaque ellipsoid, coloured by octant, through both renderers and one projection with all twelve entries."""
    torch.manual_seed(0)

    def values(points: torch.Tensor) -> FieldValues:
        radius = (points / torch.tensor([0.9, 0.8, 0.7])).norm(dim=-1)
        colour = torch.sigmoid(6 * points).transpose(1, 2)
        return FieldValues(colour, torch.sigmoid((1 - radius) * 60) * 60)

    grid = bake(values, (96, 48, 48))
    for yaw in (0.3, 2.0, -1.2):
        projection = orbit_projection(yaw, 0.2, np.array([4.0, 1.5, 1.7]), 64)
        image = render_image(values, torch.from_numpy(projection), 64, 64, samples=128)
        wanted, depth = image.rgba, image.depth
        rgba, baked_depth = render_voxels(grid, projection, 0, 0, 64, 64)
        error = np.abs(rgba / 255.0 - wanted.numpy())
        assert error.mean() < 0.01
        both = (rgba[..., 3] > 250) & (wanted[..., 3].numpy() > 0.98)
        assert np.abs(baked_depth - depth.numpy())[both].max() < 0.15


def test_network_bakes_its_own_field() -> None:
    torch.manual_seed(0)
    network = TriplaneField(16, 4, 256, 16, 8, 8)
    planes, style = network(torch.randn(1, network.synthesis.rows, 8))
    grid = bake(network.field(planes, style), (8, 6, 4))
    x, y, z = np.unravel_index(grid[..., 3].argmax(), (8, 6, 4))
    point = torch.stack([voxel_centers(8)[x], voxel_centers(6)[y], voxel_centers(4)[z]]).view(1, 1, 3)
    value = network.field(planes, style)(point)
    assert abs(int(grid[x, y, z, 3]) - 255 * (1 - np.exp(-float(value.density.detach()) * OPACITY_STEP))) <= 1
    assert np.abs(grid[x, y, z, :3] - 255 * value.rgb[0, :, 0].detach().numpy()).max() <= 1
