"""Feature extractors: input checks, weights files of every kind, and equality with the networks they wrap."""

from __future__ import annotations

import copy
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-untyped]
    FeatureExtractorInceptionV3,
)

from datamodules.errors import InputError
from lit.features.build import build_extractor
from lit.features.extractors import Extractor, to_uint8
from lit.features.random_extractor import RandomExtractor
from lit.weights.official.inception import graph_name


def pixels(count: int = 2, size: int = 40, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size + 6), generator=generator, dtype=torch.uint8)


def test_floats_are_rounded_to_levels() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(to_uint8(levels.to(dtype) / 255), levels)
    assert torch.equal(to_uint8((levels.float() / 255 + 0.0019).clamp(0, 1)), levels)  # nearest, not below
    assert torch.equal(to_uint8(levels), levels)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.full((1, 3, 4, 4), 1.004), "span 1.004 to 1.004: expected"),  # times 255 and cast wraps around to 0
        (torch.full((1, 3, 4, 4), -0.01), "span -0.01"),
        (torch.full((1, 3, 4, 4), 128.0), "span 128"),
        (torch.full((1, 3, 4, 4), float("nan")), "span nan"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), "torch.int64: expected uint8"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.bool), "torch.bool: expected uint8"),
        (torch.zeros(1, 1, 4, 4), "expected RGB"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), "expected RGB"),
        (torch.zeros(3, 4, 4), "expected RGB"),
        (torch.zeros(1, 3, 0, 4), "at least one pixel"),
    ],
)
def test_images_outside_the_declared_range_are_refused(images: Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        RandomExtractor(0)(images)


def test_random_extractor_is_its_seed() -> None:
    images = pixels()
    first, again, other = (build_extractor(spec)(images) for spec in ("random:3", "random:3", "random:4"))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    extractor = build_extractor("random")
    assert isinstance(extractor, Extractor)
    features, logits = extractor.both(images.float() / 255)
    assert features.shape == (2, extractor.dims)
    assert logits is not None
    assert logits.shape == (2, extractor.classes)
    assert torch.equal(features, extractor(images))
    assert extractor.name == "random-0"


@pytest.fixture(scope="module")
def network() -> FeatureExtractorInceptionV3:
    """torch-fidelity's network with random weights that keep activations alive."""
    build = FeatureExtractorInceptionV3.__new__(FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        module = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
        patch.setattr(module, lambda *args, **kwargs: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        build.__init__("inception", ["2048", "logits_unbiased"])
        for layer in build.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
    return build


@pytest.fixture(scope="module")
def state_file(network: FeatureExtractorInceptionV3, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-random.pth"
    torch.save(network.state_dict(), path)
    return str(path)


def test_inception_equals_torch_fidelity(network: FeatureExtractorInceptionV3, state_file: str) -> None:
    extractor = build_extractor("inception", state_file)
    assert (extractor.name, extractor.dims, extractor.classes) == ("fid-inception-torchfidelity", 2048, 1008)
    images = pixels(size=64)
    features, logits = extractor.both(images)
    expected, unbiased = network(images)
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(features, expected, rtol=1e-6, atol=1e-6)
    assert logits is not None
    torch.testing.assert_close(logits, unbiased, rtol=1e-5, atol=1e-5 * float(unbiased.abs().max()))


def test_cleanfid_resizes_floats_with_pillow(network: FeatureExtractorInceptionV3, state_file: str) -> None:
    extractor: Any = build_extractor("inception", state_file, "cleanfid")
    assert extractor.name == "fid-inception-cleanfid"
    images = pixels(1, 330)
    resized = extractor.resized(images)
    for channel in range(3):
        image = Image.fromarray(images[0, channel].numpy().astype(np.float32), mode="F")
        expected = np.asarray(image.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255)
        assert np.array_equal(resized[0, channel].numpy(), expected)
    exact = pixels(1, 299)[:, :, :, :299]  # no resize to do: both are the network itself
    torch.testing.assert_close(extractor(exact), network(exact)[0], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(extractor(images), build_extractor("inception", state_file)(images), rtol=1e-3)
    assert torch.equal(pickle.loads(pickle.dumps(extractor))(exact), extractor(exact))


class Described(nn.Module):
    """A tree of modules without computation, in which every tensor has the name that NVIDIA's file gives it."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            head, _, rest = name.partition(".")
            if rest:
                groups.setdefault(head, {})[rest] = value
            else:
                self.register_buffer(head, value)
        for head, inner in groups.items():
            self.add_module(head, Described(inner))

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("the program ran")


def graph_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torch-fidelity's state as NVIDIA's file has it: names of TensorFlow's graph, no scale, no counters."""
    parts = {"conv.weight": "weight", "bn.bias": "beta", "bn.running_mean": "mean", "bn.running_var": "var"}
    found = {name.replace("fc.", "output."): value for name, value in state.items() if name.startswith("fc.")}
    for name, value in state.items():
        *layer, kind, tensor = name.split(".")
        if (part := parts.get(f"{kind}.{tensor}")) and layer:
            place = re.sub(r"^(mixed(?:_\d+)?)_", r"\1.", graph_name(".".join(layer)))
            place = re.sub(r"(tower(?:_[12])?)_(?=conv)", r"\1.", place)
            found[f"layers.{place}.{part}"] = value
    return found


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*deprecated")
def test_tensors_of_torchscript_weights_without_its_program(
    tmp_path: Path, network: FeatureExtractorInceptionV3
) -> None:
    path = tmp_path / "inception-2015-12-05.pt"
    state = network.state_dict()
    named = graph_tensors(state)
    assert named["layers.mixed_4.tower_1.conv_2.weight"] is state["Mixed_6b.branch7x7dbl_3.conv.weight"]
    torch.jit.script(Described(named)).save(str(path))
    torch.save(state, tmp_path / "weights.pth")
    images = pixels(2, 299)[:, :, :, :299]
    found, plain = build_extractor("inception", str(path)), build_extractor("inception", str(tmp_path / "weights.pth"))
    for one, other in zip(found.both(images), plain.both(images)):
        assert one is not None and other is not None and torch.equal(one, other)  # noqa: PT018
    assert not any(parameter.requires_grad for parameter in found.parameters())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        build_extractor("inception", str(path))
    for change, says in (
        (("layers.conv.beta", None), "key Conv2d_1a_3x3.bn"),
        (("layers.more", torch.zeros(1)), "more"),
    ):
        changed = {**named, change[0]: change[1]}
        torch.jit.script(Described({k: v for k, v in changed.items() if v is not None})).save(str(path))
        with pytest.raises(InputError, match=says):
            build_extractor("inception", str(path))


def test_timm_model_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = timm.create_model("test_resnet", pretrained=False).eval()
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    extractor = build_extractor(f"timm:test_resnet:{path}")
    size = model.default_cfg["input_size"][1]
    images = pixels(2, size)[..., :size]
    features, logits = extractor.both(images)
    assert features.shape == (2, extractor.dims)
    assert extractor.name == f"timm-test_resnet-bilinear{size}"
    mean, std = (torch.tensor(model.default_cfg[key])[:, None, None] for key in ("mean", "std"))
    torch.testing.assert_close(logits, model((images.float() / 255 - mean) / std))
    assert extractor(pixels(1, 30)).shape == (1, extractor.dims)  # resized
    headless = OrderedDict((k, v) for k, v in model.state_dict().items() if not k.startswith("fc."))
    torch.save({"state_dict": headless}, path)
    without = build_extractor("timm:test_resnet", str(path))
    assert without.classes == 0
    torch.testing.assert_close(without(images), features)


def test_features_are_differentiable_in_the_images_on_request(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.pth")
    for extractor in (RandomExtractor(0), build_extractor(f"timm:test_resnet:{tmp_path / 'weights.pth'}")):
        images = (pixels().float() / 255).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            found = extractor.vector(images)
        torch.testing.assert_close(found, extractor(images))
        found.sum().backward()
        assert images.grad is not None
        assert images.grad.abs().sum() > 0


def test_open_clip_model_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip  # type: ignore[import-untyped]

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny", load_weights=False).eval()
    path = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), path)
    extractor = build_extractor("open_clip:tiny", str(path))
    assert (extractor.name, extractor.dims, extractor.classes) == ("open_clip-tiny-bicubic32", 16, 0)
    images = pixels(2, 32)[..., :32]
    cfg = model.visual.preprocess_cfg
    mean, std = (torch.tensor(cfg[key])[:, None, None] for key in ("mean", "std"))
    torch.testing.assert_close(extractor(images), model.encode_image((images.float() / 255 - mean) / std))
    torch.save({"visual.proj": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not the weights of open_clip's tiny"):
        build_extractor("open_clip:tiny", str(path))


def test_extractors_never_train() -> None:
    owner = nn.Module()
    owner.extractor = RandomExtractor(0)
    owner.train()
    assert not any(module.training for module in owner.extractor.modules())
    assert not any(parameter.requires_grad for parameter in owner.parameters())
    images = pixels()
    assert not owner.extractor(images).requires_grad
    assert torch.equal(copy.deepcopy(owner.extractor)(images), owner.extractor(images))
    with torch.autocast("cpu"):
        assert torch.equal(owner.extractor(images), RandomExtractor(0)(images))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("incepton",), r"expected random:SEED.*did you mean 'inception'"),
        (("random:x",), "expected random:SEED"),
        (("random:0", "file.pth"), "without weights"),
        (("random:0", None, "cleanfid"), "only inception has a choice"),
        (("inception",), "needs a file of weights, nothing is downloaded: torch-fidelity"),
        (("inception", "no/such.pth"), "no/such.pth: no such file"),
        (("inception", __file__, "lanczos"), "resize 'lanczos': expected torchfidelity or cleanfid"),
        (("inception:cleanfid", __file__), "expected just inception"),
        (("inception", __file__), "no readable weights .*expected weights of the FID Inception"),
        (("timm:resnet8",), r"timm has no model 'resnet8'; did you mean"),
        (("timm:resnet18",), "timm's resnet18 needs a file of weights"),
        (("timm:resnet18:a.pth", "b.pth"), "both name a file"),
        (("open_clip:ViT-B-33",), "open_clip has no model 'ViT-B-33'; did you mean"),
        (("open_clip:ViT-B-32",), "open_clip's ViT-B-32 needs a file of weights"),
    ],
)
def test_unusable_specifications_are_one_line(arguments: tuple, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build_extractor(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*deprecated")
def test_weights_of_another_network_are_refused(tmp_path: Path, network: FeatureExtractorInceptionV3) -> None:
    path = tmp_path / "weights.pth"
    cases = [
        ({"fc.weight": torch.zeros(1000, 2048)}, "inception", "torchvision's inception_v3 is another network"),
        ({}, "inception", "no fc.weight"),
        ({"fc.weight": torch.zeros(1008, 2048)}, "inception", "not torch-fidelity's Inception state dict"),
        ([1], "inception", "holds a list"),
        ({"conv1.weight": torch.zeros(3)}, "timm:test_resnet", "is missing|has the shape"),
        ({**timm.create_model("test_resnet").state_dict(), "more": torch.zeros(1)}, "timm:test_resnet", "key more"),
    ]
    for state, spec, says in cases:
        torch.save(state, path)
        with pytest.raises(InputError, match=says) as caught:
            build_extractor(spec, str(path))
        assert "\n" not in str(caught.value)
    torch.jit.script(nn.ReLU()).save(str(path))
    with pytest.raises(InputError, match="TorchScript file without 'layers'"):
        build_extractor("inception", str(path))
    torch.save(network, path)  # a pickled module runs code when it is read
    with pytest.raises(InputError, match=r"refused, it holds the global .*expected weights"):
        build_extractor("inception", str(path))
