"""Cars from a GAN: what views share, and which are dropped."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.posing.codes import PoseCodes, pictures
from lit.posing.views import (
    GanViews,
    ViewRules,
    cut_out,
    fault,
    mask_confidence,
    object_probability,
    soft_alpha,
    spread,
    straight_colour,
)

SIZE = 16


class Blob(torch.nn.Module):
    """Sees a square object in the middle of every image that is bright enough."""

    def __init__(self, likely: float = 0.9, above: float = -1.0) -> None:
        super().__init__()
        self.classes, self.likely, self.above = ["background", "object"], likely, above

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(images), 1, *images.shape[-2:])
        found[:, :, 4:12, 3:13] = self.likely
        found *= (images.float().mean((1, 2, 3)) > self.above)[:, None, None, None]
        return torch.cat([1 - found, found], 1)


def small() -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(SIZE, 8, 8, 1, channel_base=128, channel_max=8).eval()


def views(segmenter: Blob | None = None, **changes: object) -> GanViews:
    generator = small()
    torch.manual_seed(1)
    settings = {"pose_layers": 2, "views": 3, "seed": 0} | changes
    latents, silhouettes = torch.randn(5, generator.rows, 8), np.ones((5, SIZE, SIZE), bool)
    poses = PoseCodes("box", latents, np.zeros((5, 3, 4)), np.ones(3), silhouettes)
    return GanViews(generator, partial(object_probability, segmenter or Blob(), [1]), poses, **settings)  # type: ignore[arg-type]


def test_views_of_a_car_share_everything_but_the_pose_rows() -> None:
    cars = views()
    first, second = cars.car_latents(0), cars.car_latents(1)
    assert torch.equal(first[:, :2], cars.poses.latents[:, :2])
    assert torch.equal(first[:, 2:], first[:1, 2:].expand(5, -1, -1))
    assert torch.equal(first[:, :2], second[:, :2])
    assert not torch.allclose(first[0, 2:], second[0, 2:])
    assert torch.equal(first, views().car_latents(0))
    assert not torch.equal(first, views(seed=1).car_latents(0))
    towards_mean = views(truncation=0.5).car_latents(0)
    assert towards_mean[0, 2:].norm() < first[0, 2:].norm()  # w_avg of a new generator is 0


def test_a_car_carries_its_images_masks_and_templates() -> None:
    cars = views()
    car = cars.draw(7)
    assert car.rgba is not None
    assert car.rgba.shape == (3, SIZE, SIZE, 4)
    assert car.views.tolist() == [0, 2, 4]
    shown = pictures(cars.generator, cars.car_latents(7)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(car.rgba[..., :3], shown[[0, 2, 4]])
    assert (car.rgba[:, 4:12, 3:13, 3] == round(0.9 * 255)).all()
    assert (car.rgba[:, :3, :, 3] == 0).all()
    again = views().draw(7)
    assert again.rgba is not None
    assert np.array_equal(car.rgba, again.rgba)


def test_the_backdrop_is_taken_out_of_the_rim() -> None:
    alpha = np.array([[[0, 20, 128, 255]]], np.uint8)
    share = alpha[..., None] / 255
    mixed = np.rint(share * np.array([200, 40, 90]) + (1 - share) * 180).astype(np.uint8)
    found = straight_colour(mixed, alpha, np.full((1, 4, 3), 180.0))
    assert np.abs(found[0, 0, 2:] - np.array([200, 40, 90])).max() <= 1
    assert np.array_equal(found[0, 0, :2], mixed[0, 0, :2])
    cars = views(backdrop=np.full(3, 128.0))
    car, plain = cars.draw(7), views().draw(7)
    assert car.rgba is not None
    assert plain.rgba is not None
    assert not np.array_equal(car.rgba[..., :3], plain.rgba[..., :3])
    assert np.array_equal(car.rgba[..., 3], plain.rgba[..., 3])


def test_bad_views_are_left_out_and_cars_with_too_few_dropped() -> None:
    means = pictures(views().generator, views().car_latents(0)).float().mean((1, 2, 3))
    third = float(means.sort().values[1])
    car = views(Blob(above=third)).draw(0)  # sees nothing in the two darkest
    assert car.faults == {"small": 2}
    assert sorted(car.views.tolist()) == sorted(means.argsort()[2:].tolist())
    assert views(Blob(above=third), views=4).draw(0).rgba is None


def test_every_fault_has_its_name() -> None:
    silhouette = np.zeros((20, 20), bool)
    silhouette[5:15, 5:15] = True

    def judged(top: int, left: int, side: int, likely: float = 0.95, around: float = 0.0, **rules: float) -> str | None:
        probability = np.full((20, 20), around)
        probability[top : top + side, left : left + side] = likely
        return fault(probability, silhouette, ViewRules(**rules))

    assert judged(5, 5, 10) is None
    assert judged(5, 5, 2) == "small"
    assert judged(0, 5, 10) == "border"
    assert judged(5, 10, 10) == "border"
    assert judged(5, 5, 10, likely=0.55, around=0.2) == "unsure"
    assert judged(5, 5, 10, likely=0.55, around=0.2, confidence=0.3) is None
    assert judged(9, 9, 10, overlap=0.5) == "displaced"
    assert judged(9, 9, 10) is None
    probability = np.pad(np.full((10, 10), 0.95), ((9, 1), (9, 1)))
    assert fault(probability, None, ViewRules(overlap=0.5)) is None  # poses that no known object has


def test_confidence_is_the_expected_iou() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    assert mask_confidence(mask.astype(float), mask) == 1
    assert mask_confidence(np.where(mask, 0.8, 0.1), mask) == pytest.approx(40 / 55)
    assert mask_confidence(np.zeros((10, 10)), ~mask & mask) == 0


def test_only_the_largest_part_is_cut_out() -> None:
    probability = np.zeros((12, 12))
    probability[2:8, 2:8], probability[10, 10], probability[8, 3] = 0.9, 0.9, 0.4
    assert cut_out(probability).sum() == 36
    alpha = soft_alpha(probability)
    assert alpha[10, 10] == 0
    assert alpha[8, 3] == round(0.4 * 255)  # a half covered pixel of the rim stays half covered
    assert not cut_out(np.zeros((4, 4))).any()


def test_kept_views_are_spread() -> None:
    assert spread(np.array([0, 1, 4, 6, 7, 9]), 3).tolist() == [0, 4, 9]
    assert spread(np.arange(8), 8).tolist() == list(range(8))


def test_impossible_splits() -> None:
    with pytest.raises(InputError, match="pose layers 8: a generator of 16 pixels has 6 rows, expected 1 to 5"):
        views(pose_layers=8)
    with pytest.raises(InputError, match="9 views of 5 poses"):
        views(views=9)
