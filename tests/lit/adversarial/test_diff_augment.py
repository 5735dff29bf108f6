from __future__ import annotations

import pytest
import torch

from datamodules.errors import InputError
from lit.adversarial.diff_augment import STEPS, DiffAugment, cutout, translation


@pytest.mark.parametrize("step", STEPS)
def test_steps_are_differentiable_and_repeat_with_the_seed(step: str) -> None:
    images = torch.randn(6, 3, 16, 16, requires_grad=True)
    augment = DiffAugment([step])
    torch.manual_seed(3)
    first = augment(images)
    torch.manual_seed(3)
    assert torch.equal(first, augment(images))
    assert not torch.equal(first, augment(images))
    (gradient,) = torch.autograd.grad(first.square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)  # R1 needs second derivatives
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    assert torch.isfinite(second).all()


def test_translation_moves_whole_images_and_fills_with_grey() -> None:
    torch.manual_seed(0)
    images = torch.arange(1.0, 257).view(1, 1, 16, 16).repeat(8, 3, 1, 1)
    moved = translation([images])[0]
    for item, wanted in zip(moved, images):
        row, column = (int(v[0]) for v in torch.nonzero(item[0] > 0).T)
        source = wanted[0] == item[0, row, column]
        dy, dx = (int(v) for v in torch.nonzero(source)[0] - torch.tensor([row, column]))
        assert max(abs(dy), abs(dx)) <= 2
        kept = item[0, max(0, -dy) : 16 - max(0, dy), max(0, -dx) : 16 - max(0, dx)]
        assert torch.equal(kept, wanted[0, max(0, dy) : 16 + min(0, dy), max(0, dx) : 16 + min(0, dx)])
        assert (item[0] > 0).sum() == kept.numel()


def test_cutout_takes_a_square_of_half_the_side() -> None:
    torch.manual_seed(0)
    holes = (cutout([torch.ones(64, 1, 16, 16)])[0] == 0)[:, 0]
    assert int(holes.flatten(1).sum(1).max()) == 64
    assert (holes.any(1).sum(1) <= 8).all()
    assert (holes.any(2).sum(1) <= 8).all()


def test_probability_is_the_share_of_touched_images() -> None:
    torch.manual_seed(0)
    images = torch.randn(400, 3, 8, 8)
    changed = (DiffAugment(["colour"])(images, 0.25) != images).flatten(1).any(1).float().mean()
    assert changed.item() == pytest.approx(0.25, abs=0.07)
    assert torch.equal(DiffAugment()(images, 0.0), images)


def test_unknown_step_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'colour'"):
        DiffAugment(["color"])


@pytest.mark.parametrize("steps", [["translation"], ["cutout"], ["translation", "cutout"]])
def test_pictures_at_two_resolutions_and_their_maps_get_the_same_draw(steps: list[str]) -> None:
    """Blocks of 4 x 4 fine pixels stand for a coarse one, before and after."""
    torch.manual_seed(0)
    raw = torch.randn(16, 3, 8, 8)
    fine, labels = (raw[:, :c].repeat_interleave(4, 2).repeat_interleave(4, 3) for c in (3, 1))
    moved = DiffAugment(steps).together([fine, raw], [labels], 0.7)
    assert torch.equal(moved[0], moved[1].repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert torch.equal(moved[0][:, :1], moved[2])
    assert not torch.equal(moved[1], raw)


def test_maps_move_but_keep_their_values() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 3, 8, 8), torch.randn(6, 5, 8, 8)
    shown, kept = DiffAugment(["colour"]).together([images], [labels])
    assert torch.equal(kept, labels)
    assert not torch.equal(shown, images)


@pytest.mark.parametrize("channels", [1, 6])
def test_images_have_any_number_of_channels(channels: int) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, channels, 8, 8)
    assert DiffAugment()(images).shape == images.shape
