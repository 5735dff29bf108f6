from __future__ import annotations

import torch

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.quadrature import INFINITE, midpoints, ray_weights, spans


def test_weights_equal_the_printed_product() -> None:
    density, step = torch.rand(3, 6) * 5, torch.rand(3) * 0.5
    alpha = 1 - torch.exp(-density * step[:, None])
    transmittance = torch.cumprod(torch.cat([torch.ones(3, 1), 1 - alpha[:, :-1]], 1), 1)
    for bounded in (False, True):
        assert torch.allclose(ray_weights(density * step[:, None], bounded), alpha * transmittance, atol=1e-6)


def test_a_closed_ray_lets_nothing_through() -> None:
    depths, density = torch.tensor([1.0, 1.5, 2.5]), torch.tensor([0.3, 0.1, 0.2])
    assert spans(depths).tolist() == [0.5, 1.0, 0.0]
    assert torch.allclose(ray_weights(density * spans(depths, INFINITE)).sum(), torch.tensor(1.0))
    assert spans(depths, torch.tensor([0.25])).tolist() == [0.5, 1.0, 0.25]


def test_midpoints_average_raw_density_before_its_activation() -> None:
    raw, rgb = torch.tensor([[-3.0, 1.0, 5.0]]), torch.rand(1, 3, 3)
    values, middles, lengths = midpoints(FieldValues(rgb, raw), torch.tensor([[1.0, 2.0, 4.0]]), torch.exp)
    assert torch.allclose(values.density, torch.exp(torch.tensor([[-1.0, 3.0]])))
    assert torch.allclose(values.rgb[..., 0], (rgb[..., 0] + rgb[..., 1]) / 2)
    assert (middles.tolist(), lengths.tolist()) == ([[1.5, 3.0]], [[1.0, 2.0]])
