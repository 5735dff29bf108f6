"""Inversion finds the latents of images that the generator itself has made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules.errors import InputError
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.inversion import InversionSettings, image_distance, invert, latent_statistics


def small(noise: float = 0.0) -> StyleGAN2Generator:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(16, 16, 16, 2, channel_base=256, channel_max=16).eval()
    block: Any
    for block in generator.synthesis.blocks:
        for layer in (block.conv0, block.conv1):
            if layer is not None:
                layer.noise_strength.data.fill_(noise)
    return generator


def own_images(generator: StyleGAN2Generator, count: int) -> torch.Tensor:
    """Different images of the generator's, in about [-1, 1]."""
    torch.manual_seed(1)
    with torch.no_grad():
        images: torch.Tensor = generator(torch.randn(count, 16), noise="none")
    return images


def test_recovers_images_of_the_generator_itself() -> None:
    generator = small()
    targets = own_images(generator, 3)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    found = invert(generator, targets, InversionSettings(steps=200))
    mean = latent_statistics(generator)[0]
    with torch.no_grad():
        start = generator.synthesis(mean.repeat(3, generator.rows, 1), noise="none")
        shown = generator.synthesis(found.latents, noise="none")
    error = (shown - targets).square().mean((1, 2, 3))
    assert (error < 0.05 * (start - targets).square().mean((1, 2, 3))).all()
    assert found.latents.shape == (3, generator.rows, 16)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert all(parameter.requires_grad for parameter in generator.parameters())


def test_each_image_is_inverted_alone() -> None:
    """Neither its neighbours nor the batch size change what is found, and the seed decides the rest."""
    generator = small(noise=0.1)
    targets, settings = own_images(generator, 3), InversionSettings(steps=12)
    together = invert(generator, targets, settings)
    apart = invert(generator, targets, settings, batch=2)
    assert torch.allclose(together.latents, apart.latents, atol=1e-4)
    other = invert(generator, targets, InversionSettings(steps=12, seed=1))
    assert not torch.allclose(together.latents, other.latents, atol=1e-2)
    assert torch.equal(together.latents, invert(generator, targets, settings).latents)


def test_the_prior_holds_latents_near_the_mean() -> None:
    generator = small()
    targets, mean = own_images(generator, 2), latent_statistics(generator)[0]
    free, held = (
        invert(generator, targets, InversionSettings(steps=30, prior_weight=weight)).latents for weight in (0.0, 10.0)
    )
    assert (held - mean).square().mean() < 0.5 * (free - mean).square().mean()


def test_learning_rate_rises_holds_and_falls() -> None:
    settings = InversionSettings(steps=1000, lr=0.1)
    assert settings.lr_at(0) < 0.01
    assert settings.lr_at(25) == pytest.approx(0.052)
    assert settings.lr_at(50) == settings.lr_at(750) == 0.1
    assert settings.lr_at(875) == pytest.approx(0.05)
    assert settings.lr_at(999) < 1e-4


def test_distances_of_random_features() -> None:
    distance, images = image_distance(), torch.rand(2, 3, 16, 16)
    assert torch.equal(distance(images, images), torch.zeros(2))
    assert (distance(images, images.flip(3)) > 0).all()


def test_targets_must_have_the_generators_size() -> None:
    with pytest.raises(InputError, match=r"expected one or more \(3, 16, 16\)"):
        invert(small(), torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match="expected one or more"):
        invert(small(), torch.zeros(0, 3, 16, 16))
