"""Cars from a GAN: what views share, which are dropped, and the posed image set that is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.posed_images import PosedImageSet
from lit.checkpoints import write_stylegan2
from lit.cli import main
from lit.gan_views import GanViews, ViewRules, cut_out, fault, mask_confidence, soft_alpha, spread, straight_colour
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.segmentation import Segmenter
from tests.lit.posed_boxes import write_posed_boxes

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
    return GanViews(generator, segmenter or Blob(), [1], latents, silhouettes, **settings)  # type: ignore[arg-type]


def test_views_of_a_car_share_everything_but_the_pose_rows() -> None:
    cars = views()
    first, second = cars.car_latents(0), cars.car_latents(1)
    assert torch.equal(first[:, :2], cars.latents[:, :2])
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
    shown = cars.images(cars.car_latents(7)).permute(0, 2, 3, 1).numpy()
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
    means = views().images(views().car_latents(0)).float().mean((1, 2, 3))
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
    with pytest.raises(InputError, match="9 views of 5 templates"):
        views(views=9)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    write_stylegan2(tmp_path / "gan.safetensors", small())
    (tmp_path / "seg.ckpt").write_text("weights")
    write_posed_boxes(tmp_path / "templates", objects=2, views=6, size=SIZE)
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: Blob()))
    files = ["--generator", str(tmp_path / "gan.safetensors"), "--segmenter", str(tmp_path / "seg.ckpt")]
    paths = ["--templates", str(tmp_path / "templates"), "--root", str(tmp_path / "out")]
    return ["prepare", "gan-views", *files, *paths, "--pose-layers", "2", "--steps", "4", "--views", "4"]


def test_the_command_writes_a_posed_image_set(command: list[str], tmp_path: Path) -> None:
    assert main([*command, "--objects", "2"]) == 0
    posed, template = PosedImageSet.load(tmp_path / "out"), PosedImageSet.load(tmp_path / "templates")
    assert posed.ids == ("gan-000000", "gan-000001")
    assert (posed.views, posed.image_size, posed.name) == (4, SIZE, "Car")
    assert np.array_equal(posed.dims, template.dims[[0, 0]])
    chosen = [0, 2, 3, 5]
    assert np.array_equal(posed.projection[1], template.projection[0][chosen])
    assert not np.array_equal(posed.rgba[0], posed.rgba[1])
    assert {"templates.png", "cars.png", "draws.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_the_command_goes_on_where_it_stopped(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--objects", "3"]) == 0
    out = tmp_path / "out"
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    progress = json.loads((out / "draws.json").read_text())
    progress["draws"] = progress["draws"][:1]  # as if killed after the first car
    (out / "draws.json").write_text(json.dumps(progress))
    for name in ("gan-000001.npz", "gan-000002.npz", "posed.json"):
        os.remove(out / name)
    kept = (out / "gan-000000.npz").stat().st_mtime_ns
    assert main([*command, "--objects", "3"]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    assert (out / "gan-000000.npz").stat().st_mtime_ns == kept
    assert main([*command, "--objects", "4"]) == 0  # more of the same
    assert len(PosedImageSet.load(out)) == 4
    assert main([*command, "--objects", "3", "--seed", "5"]) == 2
    assert "another seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pose-layers", "6"], "expected 1 to 5"),
        (["--views", "7"], "the template has 6"),
        (["--template-object", "2"], "has 2 objects"),
        (["--backdrop", "blue"], "expected grey or R,G,B"),
        (["--min-area", "0.9", "--objects", "2"], "0 cars have 4 good views, expected 2"),
        (["--min-confidence", "2"], "min-confidence"),
    ],
)
def test_bad_requests_are_one_line(
    options: list[str], message: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *options]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_bad_inputs_are_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(message: str, *options: str) -> None:
        assert main([*command, *options]) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert len(error.splitlines()) == 1

    write_posed_boxes(tmp_path / "large", objects=1, views=4, size=24)
    refused("images of 24 pixels, the generator makes 16", "--templates", str(tmp_path / "large"))
    index = tmp_path / "large" / "posed.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "objects": []}))
    refused("no objects", "--templates", str(tmp_path / "large"))
    refused("not found", "--templates", str(tmp_path / "nothing"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    refused("holds other files", "--root", str(tmp_path / "full"))
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: Blob(likely=0.0)))
    refused("masks nothing in any of 6 template views")
    model = Blob()
    model.classes = ["background", "road"]
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: model))
    refused("expected one of object")
