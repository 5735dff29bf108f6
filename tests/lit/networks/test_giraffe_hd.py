from __future__ import annotations

import pytest
import torch

from lit.networks.fields.object_scene import SceneRanges
from lit.networks.giraffe_hd import GiraffeHDGenerator, binarisation, missing_coverage, outside_box


def small(**changes: object) -> GiraffeHDGenerator:
    torch.manual_seed(0)
    settings = {"resolution": 32, "size": 8, "samples": 8, "z_dim": 8, "background_z_dim": 6, "features": 8}
    settings |= {"hidden": 16, "layers": 4, "octaves": 3, "background_hidden": 8, "mapping_layers": 2}
    settings |= {"channel_base": 256, "channel_max": 16}
    ranges = SceneRanges(scale=((0.6, 0.3, 0.3),) * 2, radius=3.0, field_of_view=40.0, depth=(2.0, 4.0))
    network = GiraffeHDGenerator(ranges, **(settings | changes))  # type: ignore[arg-type]
    for field in (network.scene.field, network.scene.background):
        torch.nn.init.ones_(field.density_out.bias)  # else a fresh field may be empty without the training's noise
    return network


def half() -> torch.Tensor:
    """A mask that is 1 in the left half of a picture of 4 x 4."""
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    return mask


def test_binarisation_is_zero_for_hard_masks_and_half_at_most() -> None:
    assert float(binarisation(half())) == 0.0
    assert float(binarisation(torch.full((2, 1, 4, 4), 0.5))) == 0.5
    assert float(binarisation(torch.tensor([0.1, 0.8]))) == pytest.approx(0.15)


def test_mask_outside_the_box_costs_its_area() -> None:
    box = torch.zeros(1, 1, 4, 4)
    box[..., 1:] = 1
    assert float(outside_box(half(), box)) == pytest.approx(4 / 16)
    assert float(outside_box(half(), torch.ones(1, 1, 2, 2))) == 0.0  # brought to the mask's size


def test_coverage_is_asked_of_the_mean_of_the_batch() -> None:
    batch = torch.cat([half(), torch.zeros(1, 1, 4, 4)])
    assert float(missing_coverage(batch, 0.3)) == pytest.approx(0.05)
    assert float(missing_coverage(batch, 0.2)) == 0.0


def test_mask_terms_lead_a_mask_into_the_box() -> None:
    """Descending the three terms from an even grey mask gives the box's silhouette."""
    box = torch.zeros(1, 1, 8, 8)
    box[..., 2:6, 1:7] = 1
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.3)
    for _ in range(60):
        mask = logits.sigmoid()
        loss = 14 * outside_box(mask, box) + 14 * missing_coverage(mask, 0.375) + 4 * binarisation(mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal((logits.sigmoid() > 0.5).float(), box)


def test_layers_make_the_picture() -> None:
    network = small()
    codes, scene = network.codes(2), network.scene.ranges.sample(2)
    drawn = network.layers(codes, scene)
    assert torch.equal(drawn.image, drawn.foreground * drawn.mask + drawn.background * (1 - drawn.mask))
    assert drawn.image.shape == (2, 3, 32, 32)
    assert drawn.mask.shape == (2, 1, 32, 32)
    assert torch.equal(network(codes, scene), drawn.image)
    cut = network.cut_out(codes, scene)
    assert torch.equal(cut[:, 3:], drawn.mask)
    assert torch.equal(cut[:, :3], (drawn.foreground + 1) / 2)


def test_codes_touch_what_they_should() -> None:
    """The background's codes leave the mask alone; its appearance reaches the foreground through the refiner."""
    network = small()
    codes, scene = network.codes(1), network.scene.ranges.sample(1)
    base = network.layers(codes, scene)
    other = network.layers(codes._replace(back_look=codes.back_look + 1), scene)
    assert torch.equal(other.mask, base.mask)
    assert not torch.equal(other.background, base.background)
    assert not torch.equal(other.foreground, base.foreground)
    moved = network.layers(codes._replace(shape=codes.shape + 1), scene)
    assert torch.equal(moved.background, base.background)
    assert not torch.equal(moved.mask, base.mask)


def test_appearance_row_decides_who_paints() -> None:
    codes = small().codes(1, torch.Generator().manual_seed(0))
    changed = codes._replace(look=codes.look + 1)
    late, early = small(mix_row=99), small(mix_row=2)
    scene = late.scene.ranges.fixed(torch.zeros(1))
    assert torch.equal(late(codes, scene), late(changed, scene))
    assert not torch.equal(early(codes, scene), early(changed, scene))


def test_box_picture_is_where_the_box_is() -> None:
    network = small()
    ranges = network.scene.ranges
    scene = ranges.fixed(torch.zeros(1), 0.0)._replace(translation=torch.tensor([[[0.0, 0.5, 0.0]]]))
    box = network.scene.boxes(scene, pad=0.0)
    assert float(box[0, 0, :, 4:].mean()) > 4 * float(box[0, 0, :, :4].mean())
    grown = network.scene.boxes(scene, pad=0.5)
    assert float(grown.mean()) > float(box.mean()) > 0
    assert (grown >= box - 1e-6).all()
