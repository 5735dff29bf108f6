"""SeFa and GANSpace find the direction that a hand-made generator was given."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules.errors import InputError
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.latent_directions import ganspace, row_styles, sefa


@pytest.fixture
def generator() -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(16, 12, 12, 1, channel_base=256, channel_max=16).eval()


def plant(generator: StyleGAN2Generator, rows: range, direction: torch.Tensor) -> None:
    """Let the styles of some rows' layers depend on (almost) nothing but one direction."""
    for row in rows:
        weight = row_styles(generator.synthesis)[row]
        weight.copy_(torch.randn(len(weight), 1) * direction + 0.05 * torch.randn_like(weight))


def test_sefa_recovers_planted_directions_per_row_range(generator: StyleGAN2Generator) -> None:
    axes = torch.linalg.qr(torch.randn(12, 12))[0]
    plant(generator, range(0, 3), axes[0])
    plant(generator, range(3, 6), axes[1])
    pose, paint = sefa(generator, range(0, 3), 4), sefa(generator, range(3, 6), 4)
    assert abs(pose.vectors[0] @ axes[0]) > 0.99
    assert abs(paint.vectors[0] @ axes[1]) > 0.99
    assert pose.strength[0] > 5 * pose.strength[1]
    both = sefa(generator, count=2)
    assert both.vectors.shape == (2, 12)
    inside = both.vectors @ axes[:2].t()
    assert torch.allclose(inside.square().sum(1), torch.ones(2), atol=0.03)  # together they span both
    assert torch.allclose(pose.vectors @ pose.vectors.t(), torch.eye(4), atol=1e-5)


def test_style_rows_drive_the_layers_they_are_said_to(generator: StyleGAN2Generator) -> None:
    """A row whose style weights vanish no longer changes the image, except by a to_rgb that shares it."""
    styles = row_styles(generator.synthesis)
    assert len(styles) == generator.rows
    latents = torch.randn(1, generator.rows, 12)
    for row in range(generator.rows):
        styles[row].zero_()
    blocks: list[Any] = list(generator.synthesis.blocks)
    for block in blocks[:-1]:
        block.to_rgb.affine.weight.data.zero_()
    with torch.no_grad():
        first = generator.synthesis(latents, noise="none")
        assert torch.allclose(first, generator.synthesis(torch.zeros_like(latents), noise="none"), atol=1e-5)


def test_ganspace_recovers_the_axis_along_which_w_varies(generator: StyleGAN2Generator) -> None:
    axes = torch.linalg.qr(torch.randn(12, 12))[0]
    scale = torch.tensor([3.0, 1.5, *[0.2] * 10])

    class Stretch(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return (z * scale) @ axes + 5.0

    generator.mapping = Stretch()  # type: ignore[assignment]  # stands in for the mapping network
    found = ganspace(generator, samples=4000, count=3)
    assert abs(found.vectors[0] @ axes[0]) > 0.99
    assert abs(found.vectors[1] @ axes[1]) > 0.99
    assert torch.allclose(found.strength, torch.tensor([3.0, 1.5, 0.2]), rtol=0.1)
    again = ganspace(generator, samples=4000, count=3)
    assert torch.equal(found.vectors, again.vectors)


def test_rows_outside_the_latent_are_refused(generator: StyleGAN2Generator) -> None:
    for rows in (range(0), range(4, 7)):
        with pytest.raises(InputError, match="expected some of the generator's 0 to 5"):
            sefa(generator, rows)
