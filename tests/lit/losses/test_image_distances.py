"""Perceptual levels and CLIP's distance: what they tell apart, and what they say without their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datamodules.errors import InputError
from lit.losses.perceptual_levels import PerceptualLevels
from lit.losses.semantic_views import ClipViewDistance

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 4, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def tiny_clip(monkeypatch: pytest.MonkeyPatch) -> str:
    import open_clip  # type: ignore[import-untyped]

    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", TINY)
    return "tiny"


@pytest.mark.parametrize("choice", [{"network": "convolutions"}, {"weights": "random"}])
def test_levels_tell_pictures_apart_and_the_deepest_are_some_of_them(choice: dict[str, str]) -> None:
    distance, draw = PerceptualLevels(**choice), torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 2, 3, 32, 32, generator=draw)
    shown = first.clone().requires_grad_()
    assert float(distance(first, first)) == pytest.approx(0, abs=1e-9)
    whole, deepest = distance(shown, second), distance(shown, second, 2)
    assert deepest.detach() > 0
    assert whole.detach() != deepest.detach()
    (gradient,) = torch.autograd.grad(whole, shown)
    assert gradient.abs().sum() > 0
    assert not any(p.requires_grad for p in distance.parameters())


@pytest.mark.parametrize("kind", ["l1", "cosine"])
def test_clip_compares_pictures_of_any_size(tiny_clip: str, kind: str) -> None:
    distance = ClipViewDistance("random", tiny_clip, kind)
    first, second = torch.rand(2, 2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    shown = first.clone().requires_grad_()
    assert float(distance(first, first)) == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(distance(shown, second), shown)
    assert gradient.abs().sum() > 0
    again = ClipViewDistance("random", tiny_clip, kind)
    assert float(again(first, second)) == float(distance(first, second))


def test_clip_reads_a_file(tiny_clip: str, tmp_path: Path) -> None:
    import open_clip

    model = open_clip.create_model(tiny_clip, load_weights=False)
    torch.save(model.state_dict(), tmp_path / "clip.bin")
    distance = ClipViewDistance(str(tmp_path / "clip.bin"), tiny_clip)
    torch.testing.assert_close(dict(distance.features.network.named_parameters())["proj"], model.visual.proj)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: PerceptualLevels(), "perceptual loss's VGG16 needs a file of weights.*vgg16-397923af.pth"),
        (lambda: PerceptualLevels("none.pth"), "none.pth: no such file"),
        (lambda: PerceptualLevels(network="alexnet"), "expected vgg or convolutions"),
        (lambda: PerceptualLevels("some.pth", "convolutions"), "expected none"),
        (lambda: ClipViewDistance(), "ViT-B-16 needs a file of weights.*open_clip_pytorch_model.bin"),
        (lambda: ClipViewDistance("none.bin"), "none.bin: no such file"),
        (lambda: ClipViewDistance("random", "ViT-B-17"), "no model 'ViT-B-17'; did you mean"),
        (lambda: ClipViewDistance("random", "ViT-B-16", "l3"), "expected one of l1, cosine"),
    ],
)
def test_absent_weights_are_one_line_that_names_the_file(build: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
