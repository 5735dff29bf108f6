from __future__ import annotations

from typing import Any

import pytest
import torch

from datamodules.errors import InputError
from lit.networks.discriminators.conv_discriminator import ConvDiscriminator
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator


def both(**options: Any) -> list[Any]:
    torch.manual_seed(0)
    return [ConvDiscriminator(16, 8, **options), StyleGAN2Discriminator(16, 128, 8, **options)]


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_images_have_any_number_of_channels(channels: int) -> None:
    for net in both(input_channels=channels):
        images = torch.randn(4, channels, 16, 16, requires_grad=True)
        logits = net(images)
        assert logits.shape == (4, 1)
        (gradient,) = torch.autograd.grad(logits.sum(), images)
        assert (gradient.flatten(2).norm(dim=2) > 0).all()


def test_raw_images_are_judged_together_with_the_others() -> None:
    for net in both(input_channels=4, raw_channels=4):
        images, raw = torch.randn(4, 4, 16, 16), torch.randn(4, 4, 4, 4)
        logits = net(images, raw)
        assert logits.shape == (4, 1)
        assert not torch.allclose(logits, net(images, -raw))
        assert not torch.allclose(logits, net(-images, raw))
        with pytest.raises(InputError, match="raw images of 0 channels: expected 4"):
            net(images)
        with pytest.raises(InputError, match="raw images of 3 channels"):
            net(images, raw[:, :3])


@pytest.mark.parametrize("condition", [torch.tensor([0, 3, 1, 2]), torch.randn(4, 5)])
def test_a_class_or_a_pose_conditions(condition: torch.Tensor) -> None:
    for net in both(c_dim=5):
        images = torch.randn(1, 3, 16, 16).expand(4, -1, -1, -1)
        logits = net(images, condition=condition)
        assert logits.shape == (4, 1)
        assert len(logits.unique()) == 4  # one image, four conditions
        with pytest.raises(InputError, match="expected one class or vector an image"):
            net(images)
    for net in both():
        with pytest.raises(InputError, match="expected none, its c_dim is 0"):
            net(images, condition=condition)


def test_without_options_the_parameters_are_the_published_ones() -> None:
    conv, residual = both()
    assert {name.split(".")[0] for name, _ in conv.named_parameters()} == {"convs", "out"}
    names = {name.split(".")[0] for name, _ in residual.named_parameters()}
    assert names == {"from_rgb", "blocks", "conv", "hidden", "out"}
