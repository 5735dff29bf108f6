from __future__ import annotations

import numpy as np
import torch

from lit.networks.latent_gaussian import LatentGaussian


def test_samples_have_the_latents_mean_and_covariance() -> None:
    torch.manual_seed(0)
    latents = torch.randn(50, 2, 3) * torch.tensor([1.0, 2.0, 0.1]) + 5
    dims = torch.tensor([[4.0, 1.5, 1.7]]) * (1 + 0.1 * torch.randn(50, 1))
    drawn, sizes = LatentGaussian.fit(latents, dims).sample(4000, np.random.default_rng(0), truncation=1.0)
    assert drawn.shape == (4000, 2, 3)
    assert torch.allclose(drawn.mean(0), latents.mean(0), atol=0.15)
    assert torch.allclose(drawn.std(0), latents.std(0), rtol=0.1)
    assert torch.allclose(sizes.mean(0), dims.mean(0), rtol=0.05)
    ratio = sizes[:, 0] / sizes[:, 1]  # dims stay correlated: all three were scaled by one number
    assert ratio.std() < 0.02 * ratio.mean()


def test_truncation_zero_is_the_mean_object() -> None:
    latents = torch.randn(5, 2, 3)
    drawn, _ = LatentGaussian.fit(latents, torch.ones(5, 3)).sample(2, np.random.default_rng(0), truncation=0.0)
    assert torch.allclose(drawn[0], latents.mean(0), atol=1e-6)
    assert torch.equal(drawn[0], drawn[1])
