"""torchvision's segmenters: its own pictures in, the suite's interface out, and what is said of wrong files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model, get_model_weights, list_models, segmentation
from torchvision.transforms.functional import resize

from datamodules.errors import InputError
from lit.cli import main
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.proxies.segmentation import Segmenter
from lit.proxies.torchvision_segmenter import VOC_CLASSES, TorchvisionSegmenter, load_segmenter, segmenter_file
from lit.weights import write_stylegan2
from tests.lit.posed_boxes import write_posed_boxes

NAME = "lraspp_mobilenet_v3_large"
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> Weights:
    """Random weights, the classifiers' large enough that what is seen differs from place to place."""
    torch.manual_seed(0)
    found = get_model(NAME, weights=None, weights_backbone=None).state_dict()
    for part in ("low", "high"):
        found[f"classifier.{part}_classifier.weight"] *= 3000
    return found


def saved(path: Path, content: object) -> str:
    torch.save(content, path)
    return f"torchvision:{NAME}:{path}"


def always(state: Weights, likely: str) -> Weights:
    """Weights of a network that sees one class everywhere, with a probability of nearly 1."""
    changed = {key: value.clone() for key, value in state.items()}
    for part in ("low", "high"):
        for kind in ("weight", "bias"):
            changed[f"classifier.{part}_classifier.{kind}"].zero_()
    changed["classifier.low_classifier.bias"][VOC_CLASSES.index(likely)] = 20
    return changed


def test_classes_are_those_of_torchvisions_weights() -> None:
    for name in list_models(module=segmentation):
        categories = get_model_weights(name)["DEFAULT"].meta["categories"]
        assert list(VOC_CLASSES) == ["background", *categories[1:]]


def test_large_pictures_are_judged_as_torchvision_does(tmp_path: Path, state: Weights) -> None:
    model = load_segmenter(saved(tmp_path / "w.pth", state))
    assert isinstance(model, TorchvisionSegmenter)
    images = torch.randint(0, 256, (1, 3, 520, 544), dtype=torch.uint8)
    network = get_model(NAME, weights=None, weights_backbone=None).eval()
    network.load_state_dict(state)
    with torch.no_grad():
        expected = network(get_model_weights(NAME)["DEFAULT"].transforms()(images))["out"].softmax(1)
    torch.testing.assert_close(model.probabilities(images), expected, atol=1e-5, rtol=1e-4)
    assert expected.std((2, 3)).max() > 0.02
    assert model.classes[7] == "car"
    assert not model.training


def test_small_pictures_are_enlarged_and_brought_back(tmp_path: Path, state: Weights) -> None:
    saved(tmp_path / "w.pth", state)
    model = TorchvisionSegmenter(NAME, tmp_path / "w.pth", least_side=160)
    images = torch.randint(0, 256, (5, 3, 40, 56), dtype=torch.uint8)  # more than one chunk
    found = model.probabilities(images)
    large = model.probabilities(resize(images, [160, 224]))
    assert large.shape == (5, 21, 160, 224)
    assert (found - resize(large, [40, 56])).abs().max() < 0.05  # resize has rounded the enlarged pictures
    assert torch.allclose(found.sum(1), torch.ones(5, 40, 56), atol=1e-5)
    plain = TorchvisionSegmenter(NAME, tmp_path / "w.pth", least_side=40).probabilities(images)
    assert (found - plain).abs().max() > 0.2
    assert not found.requires_grad


def test_files_of_a_training_and_auxiliary_classifiers_are_read(tmp_path: Path, state: Weights) -> None:
    extra = {**state, "aux_classifier.4.weight": torch.zeros(21, 256, 1, 1)}
    wrapped = {"model": {f"module.{key}": value for key, value in extra.items()}, "epoch": 3}
    images = torch.randint(0, 256, (1, 3, 520, 520), dtype=torch.uint8)
    plain, other = (load_segmenter(saved(tmp_path / "w.pth", content)) for content in (state, wrapped))
    assert torch.equal(plain.probabilities(images), other.probabilities(images))


@pytest.mark.parametrize("auxiliary", [False, True])
def test_deeplab_is_read_with_and_without_its_auxiliary_classifier(tmp_path: Path, auxiliary: bool) -> None:
    name = "deeplabv3_mobilenet_v3_large"
    network = get_model(name, weights=None, weights_backbone=None, aux_loss=auxiliary).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = TorchvisionSegmenter(name, tmp_path / "w.pth", least_side=64)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected = network((images.float() - model.mean) / model.std)["out"].softmax(1)
    torch.testing.assert_close(model.probabilities(images), expected)


def test_other_classes_are_named_in_the_source(tmp_path: Path) -> None:
    network = get_model(NAME, weights=None, weights_backbone=None, num_classes=3)
    source = saved(tmp_path / "w.pth", network.state_dict())
    assert load_segmenter(f"{source}:road,sidewalk, car").classes == ["road", "sidewalk", "car"]
    assert segmenter_file(f"{source}:road,sidewalk,car") == tmp_path / "w.pth"
    assert segmenter_file(tmp_path / "own.ckpt") == tmp_path / "own.ckpt"
    with pytest.raises(InputError, match=r"weights of 3 classes, VOC has 21; give torchvision:NAME:PATH, or .*CLASS"):
        load_segmenter(source)
    with pytest.raises(InputError, match="weights of 3 classes, 2 are named"):
        load_segmenter(f"{source}:road,car")


def test_the_suites_own_checkpoints_go_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: f"loaded {path}"))
    assert str(load_segmenter(Path("runs/a/last.ckpt"))) == "loaded runs/a/last.ckpt"


def test_wrong_sources_are_one_line(tmp_path: Path, state: Weights) -> None:
    source = saved(tmp_path / "w.pth", state)
    file = tmp_path / "w.pth"
    missing = saved(tmp_path / "part.pth", {key: value for key, value in state.items() if "cbr" not in key})
    odd = saved(tmp_path / "odd.pth", {**state, "classifier.low_classifier.weight": 3})
    cases = {
        "torchvision:": "expected torchvision:NAME:PATH",
        f"torchvision:{NAME}": "expected torchvision:NAME:PATH",
        f"{source}:road,,car": "expected torchvision:NAME:PATH",
        f"{source}:road,road": "expected torchvision:NAME:PATH",
        f"torchvision:lraspp_mobilenet_v3_larg:{file}": rf"expected one of deeplab.*did you mean '{NAME}'",
        f"torchvision:maskrcnn_resnet50_fpn:{file}": "expected one of deeplab",
        f"torchvision:{NAME}:{tmp_path}/no.pth": r"no\.pth: no such file; expected weights of torchvision's lraspp",
        f"torchvision:deeplabv3_mobilenet_v3_large:{file}": "is missing; expected the state dict of torchvision's deep",
        f"torchvision:fcn_resnet50:{file}": "is missing; expected the state dict of torchvision's fcn_resnet50",
        missing: "key classifier.cbr.0.weight is missing",
        odd: "of another structure than the state dict of torchvision's lraspp",
    }
    for wrong, says in cases.items():
        with pytest.raises(InputError, match=says) as caught:
            load_segmenter(wrong)
        assert "\n" not in str(caught.value)


def test_nothing_is_downloaded(tmp_path: Path, state: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    load_segmenter(saved(tmp_path / "w.pth", state))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit.proxies.torchvision_segmenter.LEAST_SIDE", 96)


def test_commands_take_it(
    tiny_world: Path, tmp_path: Path, state: Weights, capsys: pytest.CaptureFixture[str], quick: None
) -> None:
    shutil.copytree(tiny_world, tmp_path / "world")
    masks = ["--root", str(tmp_path / "world"), "--checkpoint", saved(tmp_path / "car.pth", always(state, "car"))]

    def refused(message: str, *words: str) -> None:
        assert main(["prepare", *words]) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert len(error.splitlines()) == 1

    refused("tvmonitor, expected one of road, parking; give another segmenter", "road-masks", *masks)
    refused("the emptiest has 0.000", "empty-frames", *masks)
    masks[-1] = saved(tmp_path / "sofa.pth", always(state, "sofa"))
    refused("finds no vehicle or person in any of 12 frames", "empty-frames", *masks)


def test_gan_views_takes_it(tmp_path: Path, state: Weights, capsys: pytest.CaptureFixture[str], quick: None) -> None:
    torch.manual_seed(0)
    write_stylegan2(tmp_path / "g.safetensors", StyleGAN2Generator(16, 8, 8, 1, channel_base=128, channel_max=8))
    write_posed_boxes(tmp_path / "templates", objects=1, views=2, size=16)
    source = saved(tmp_path / "car.pth", always(state, "car"))
    paths = ["--templates", str(tmp_path / "templates"), "--root", str(tmp_path / "out"), "--segmenter", source]
    settings = ["--pose-layers", "2", "--steps", "2", "--views", "1", "--objects", "1"]
    assert main(["prepare", "gan-views", "--generator", str(tmp_path / "g.safetensors"), *paths, *settings]) == 2
    shown = capsys.readouterr()
    assert "10 border" in shown.err  # five cars of two views, each masked from edge to edge
    assert len(shown.err.strip().splitlines()) == 1
