"""NeMo's cuboid, its picture and its search: against brute force, and from perfect features to the pose they show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datamodules.objects.studio import view_projection
from lit.losses.vertex_contrast import vertex_contrast
from lit.metrics.pose_accuracy import pose_errors
from lit.networks.neural_mesh import Cuboid, cell_rays, render_cuboid, sampled_features, seen_vertices
from lit.proxies.pose_estimator import rotations_of
from lit.recognition.render_and_compare import Descent, NeuralMeshes

VIEW = torch.tensor(np.deg2rad(49.13), dtype=torch.float32)
HALF = torch.tensor([[0.5, 0.19, 0.21]])
ANGLES = torch.tensor([[50.0, 20.0, 8.0]])
AWAY = torch.tensor([1.5])


def test_vertices_lie_evenly_on_six_faces() -> None:
    cuboid = Cuboid.build(4)
    assert len(cuboid.vertices) == 4**3 - 2**3
    assert len(cuboid.vertices.unique(dim=0)) == len(cuboid.vertices)
    for number, face in enumerate(cuboid.faces):
        corners = cuboid.vertices[face]
        assert (corners[..., number // 2] == (1 if number % 2 else -1)).all()
        first, second = (axis for axis in range(3) if axis != number // 2)
        assert torch.allclose(corners[:, 0, first], torch.linspace(-1, 1, 4))
        assert torch.allclose(corners[0, :, second], torch.linspace(-1, 1, 4))


def test_vertices_stand_where_the_studios_camera_sees_them() -> None:
    cuboid, dims = Cuboid.build(3), 2 * HALF[0].double().numpy()
    places, visible = seen_vertices(cuboid, HALF, rotations_of(ANGLES * torch.tensor([1, 1, 0])).float(), AWAY, VIEW)
    projection = view_projection(dims, 50.0, 20.0, 64, 1.5, float(VIEW))
    homogeneous = np.c_[cuboid.vertices.double().numpy(), np.ones(len(cuboid.vertices))] @ projection.T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    np.testing.assert_allclose((places[0].numpy() + 1) * 32 - 0.5, pixels, atol=1e-3)
    front = cuboid.vertices[:, 0] > 0.99  # azimuth 50: the left side (z), too, and the roof (-y)
    assert visible[0][front].all()
    hidden = (cuboid.vertices[:, 0] < 0.99) & (cuboid.vertices[:, 1] > -0.99) & (cuboid.vertices[:, 2] < 0.99)
    assert not visible[0][hidden].any()


def test_a_picture_shows_the_nearest_point_of_the_surface() -> None:
    """With the vertices' own places as features, a cell shows a point of the surface on its ray, the nearest one."""
    cuboid, rotation = Cuboid.build(5), rotations_of(ANGLES).float()
    rays = cell_rays(12, VIEW)
    seen = render_cuboid(cuboid, cuboid.vertices[None], HALF, rotation, AWAY, rays)
    hit = seen.any(-1)
    points = (seen * HALF) @ rotation.transpose(1, 2) + torch.tensor([0, 0, 1.5])
    depth = points[0, :, 2]
    assert hit[0].sum() > 20
    assert torch.allclose((points[0] / depth[:, None])[hit[0]], rays[hit[0]], atol=1e-5)
    assert (seen[0][hit[0]].abs().amax(-1) - 1).abs().max() < 1e-5
    dense = torch.linspace(-1, 1, 401)
    for number in hit[0].nonzero()[::7, 0]:
        along = rays[number] * (1.5 + dense[:, None])
        inside = (((along - torch.tensor([0, 0, 1.5])) @ rotation[0]) / HALF).abs().amax(-1) <= 1
        assert depth[number] == pytest.approx(float(along[inside][0, 2]), abs=0.01)
    assert (seen[0][~hit[0]] == 0).all()


def test_the_picture_is_smooth_in_the_pose() -> None:
    cuboid, generator = Cuboid.build(4), torch.Generator().manual_seed(0)
    bank = torch.randn(1, len(cuboid.vertices), 3, generator=generator).double()
    rays, half, away = cell_rays(6, VIEW).double(), HALF.double(), AWAY.double()
    angles = ANGLES.double().requires_grad_()

    def drawn(angles: torch.Tensor) -> torch.Tensor:
        wide = Cuboid(cuboid.vertices.double(), cuboid.faces)
        return render_cuboid(wide, bank, half, rotations_of(angles), away, rays).square().sum()

    (found,) = torch.autograd.grad(drawn(angles), angles)
    for axis in range(3):
        step = torch.zeros(1, 3, dtype=torch.float64)
        step[0, axis] = 1e-5
        slope = (drawn(ANGLES.double() + step) - drawn(ANGLES.double() - step)) / 2e-5
        assert float(found[0, axis]) == pytest.approx(float(slope), rel=1e-4)


@pytest.mark.parametrize("hidden", [0.0, 0.4])
def test_perfect_features_give_their_pose(hidden: float) -> None:
    """Features rendered at a pose, on clutter, part of them hidden by other clutter: the search finds the pose."""
    cuboid, generator = Cuboid.build(7), torch.Generator().manual_seed(3)
    count, cells = 6, 16
    bank = F.normalize(torch.randn(2, len(cuboid.vertices), 32, generator=generator), dim=-1)
    half = torch.stack([HALF[0], torch.tensor([0.24, 0.5, 0.19])])
    meshes = NeuralMeshes(cuboid, bank, half, cell_rays(cells, VIEW))
    labels, away = torch.tensor([0, 1, 0, 1, 0, 1]), AWAY.expand(count)
    spread = torch.rand(count, 3, generator=generator)
    true = torch.tensor([0.0, -5.0, -12.0]) + spread * torch.tensor([360.0, 50.0, 24.0])
    behind = F.normalize(torch.randn(32, generator=generator), dim=0)
    drawn = meshes.rendered(labels, true, away)
    features = torch.where(drawn.any(-1, keepdim=True), drawn, behind)
    side = int(cells * hidden)
    features.reshape(count, cells, cells, 32)[:, :, :side] = F.normalize(torch.randn(32, generator=generator), dim=0)
    features = F.normalize(features, dim=-1)
    clutter = features @ behind
    descent = Descent(steps=60)
    found = meshes.solve(features, clutter, labels, away, descent)
    errors = torch.rad2deg(pose_errors(rotations_of(found), rotations_of(true)))
    starts = torch.rad2deg(
        pose_errors(rotations_of(meshes.best_starts(features, clutter, labels, away, descent)), rotations_of(true))
    )
    assert errors.max() < 3
    assert errors.mean() < starts.mean() / 3
    alone = meshes.solve(features[2:3], clutter[2:3], labels[2:3], away[2:3], descent)
    assert torch.allclose(alone, found[2:3], atol=0.05)
    likeness = features @ bank[labels].transpose(1, 2)
    at_truth, at_found = (meshes.agreement(likeness, clutter, labels, angles, away) for angles in (true, found))
    drawn_again = (meshes.rendered(labels, found, away) * features).sum(-1).maximum(clutter).mean(-1)
    assert torch.allclose(at_found, drawn_again, atol=1e-5)
    assert (at_found > at_truth - 0.02).all()


def test_features_are_read_where_vertices_stand() -> None:
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0], maps[0, 1, 1, 2] = 1.0, 1.0
    places = torch.tensor([[[0.25, -0.25], [-0.75, -0.75]]])  # the middles of cells (row 1, column 2) and (0, 0)
    found = sampled_features(maps, places)
    assert torch.allclose(found[0], torch.tensor([[0.5**0.5, 0.5**0.5], [1.0, 0.0]]), atol=1e-6)


def test_contrast_is_a_softmax_over_far_vertices_and_clutter() -> None:
    generator = torch.Generator().manual_seed(0)
    features, bank = (F.normalize(torch.randn(2, 5, 8, generator=generator), dim=-1) for _ in range(2))
    clutter = F.normalize(torch.randn(3, 8, generator=generator), dim=-1)
    places = torch.tensor([[0.0, 0.0], [0.1, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).expand(2, -1, -1)
    visible = torch.tensor([[True, True, False, True, False], [False] * 5])
    found = vertex_contrast(features, bank, clutter, places, visible, 0.2, 0.5, 0.1)
    losses = []
    for vertex in (0, 1, 3):
        rivals = [other for other in range(5) if other == vertex or {other, vertex} != {0, 1}]
        scores = torch.exp(features[0, vertex] @ bank[0, rivals].T / 0.5)
        others = 0.1 * torch.exp(features[0, vertex] @ clutter.T / 0.5).sum()
        losses.append(-torch.log(scores[rivals.index(vertex)] / (scores.sum() + others)))
    assert float(found[0]) == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    assert float(found[1]) == 0
