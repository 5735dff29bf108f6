"""The suite's CLIP: open_clip's loss, figures beside chance, a checkpoint that serves as weights, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.files.seals import SEAL_KEY
from datamodules.images import write_image
from datamodules.recognition.captioned_images import CaptionBatch
from datamodules.recognition.captioned_writer import CaptionedSettings, write_captioned
from lit.cli import ROOT, main
from lit.features.build import build_extractor
from lit.features.pretrained import OpenClipExtractor
from lit.losses.semantic_views import ClipViewDistance
from lit.recognition.clip import Clip
from lit.results import read_result

TINY: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8},
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of two steps."""
    folder = tmp_path_factory.mktemp("clip")
    write_captioned(folder / "set", CaptionedSettings(("car", "bicycle"), objects=3, views=2, size=16))
    words = ["--data.folder", str(folder / "set"), "--data.batch_size", "4", "--data.val_every", "3"]
    words += ["--model.architecture", json.dumps(TINY), "--trainer.max_steps", "2"]
    words += ["--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(folder / "run")]
    assert main(["fit", "-c", str(ROOT / "conf/experiment/clip_studio.yaml"), *words]) == 0
    return folder / "run"


def test_the_loss_is_open_clips() -> None:
    from open_clip import ClipLoss  # type: ignore[import-untyped]

    torch.manual_seed(0)
    model, texts = Clip(TINY), ("a red car", "a van", "a photo of a bicycle")
    images = torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8)
    batch = CaptionBatch(images, texts, torch.zeros(3, 3, dtype=torch.int64), ("a", "b", "c"))
    pictures, tokens = model.preprocess(images), model.tokenizer(list(texts))
    expected = ClipLoss()(*model.network(pictures, tokens))
    torch.testing.assert_close(model.loss(batch), expected)
    model.network.logit_scale.data.fill_(9.0)
    model.on_train_batch_end(None, None, 0)
    assert float(model.network.logit_scale.detach().exp()) == pytest.approx(100)


def test_every_validation_says_what_it_knows_beside_chance(trained: Path) -> None:
    record = read_result(trained / "result.json")
    figures = record.metrics
    for name in ("class_accuracy", "paint_accuracy", "side_accuracy", "retrieval_at_1"):
        assert 0 <= figures[f"val/{name}"] <= 1
    assert figures["val/class_chance"] == 0.5
    assert 0.25 <= figures["val/retrieval_chance"] <= 1
    assert record.content["evaluator"]["version"] == "captions-1"


def test_its_checkpoint_serves_as_open_clip_weights(trained: Path) -> None:
    path = str(trained / "last.ckpt")
    state = torch.load(path, weights_only=True)["state_dict"]
    model = Clip(TINY)
    model.load_state_dict(state)
    extractor = OpenClipExtractor("ViT-B-16", path)  # whatever name stands in a configuration
    assert (extractor.name, extractor.dims) == ("open_clip-own-bicubic16", 8)
    images = torch.randint(0, 255, (2, 3, 16, 16), dtype=torch.uint8)
    unit = torch.nn.functional.normalize(extractor(images), dim=1)
    torch.testing.assert_close(unit, model.eval().images(images).detach())
    assert build_extractor(f"open_clip:own:{path}").version == extractor.version
    shown = torch.rand(2, 3, 24, 24, requires_grad=True)
    distance = ClipViewDistance(path)
    assert float(distance(shown, shown).detach()) == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(distance(shown, shown.detach().flip(0)), shown)
    assert gradient.abs().sum() > 0


def test_unusable_models_and_checkpoints_are_one_line(trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "last.ckpt", weights_only=True)
    altered = {**TINY, "embed_dim": 16}
    cases: list[tuple[dict[str, Any], str]] = [
        ({**content, "hyper_parameters": {"width": 3}}, "a checkpoint of another training; expected the CLIP of"),
        ({**content, "hyper_parameters": {"architecture": altered}}, "another shape than its settings say"),
        ({**content, "hyper_parameters": {"architecture": {"embed_dim": 8}}}, "expected embed_dim, vision_cfg"),
    ]
    for number, (changed, says) in enumerate(cases):
        path = tmp_path / f"{number}.ckpt"
        torch.save({key: value for key, value in changed.items() if key != SEAL_KEY}, path)
        with pytest.raises(InputError, match=says) as caught:
            ClipViewDistance(str(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="unexpected keyword argument 'depth'"):
        Clip({**TINY, "vision_cfg": {"depth": 3}})
    with pytest.raises(InputError, match="vocab_size 100: expected at least the 49408 tokens"):
        Clip({**TINY, "text_cfg": {**TINY["text_cfg"], "vocab_size": 100}})
    with pytest.raises(InputError, match="open_clip has no model 'own'"):
        ClipViewDistance(str(tmp_path / "none.ckpt"), "own")


def leave_pictures(folder: Path, seed: int, count: int = 3, size: int = 16) -> list[np.ndarray]:
    """Pictures with alpha, as ``prepare class-photos`` leaves them; returns them on mid-grey, (3, S, S)."""
    draw, shown = np.random.default_rng(seed), []
    for number in range(count):
        rgba = draw.integers(0, 256, (4, size, size), np.uint8)
        write_image(folder / "car" / f"car{number:06d}.png", rgba)
        write_image(folder / "car" / f"car{number:06d}_depth.png", np.zeros((size, size), np.uint16))
        alpha = rgba[3:] / 255
        shown.append(np.rint(rgba[:3] * alpha + 127.5 * (1 - alpha)).astype(np.uint8))
    return shown


def test_pictures_drawn_by_texts_are_asked_for_their_own(trained: Path, tmp_path: Path) -> None:
    weights, out, texts = str(trained / "last.ckpt"), tmp_path / "prompts.json", ("a red car", "a van")
    shown = {text: leave_pictures(tmp_path / f"drawn{row}", row) for row, text in enumerate(texts)}
    drawn = [f"{text}={tmp_path / f'drawn{row}'}" for row, text in enumerate(texts)]
    words = ["evaluate", "prompts", "--weights", weights]
    assert main([*words, "--drawn", *drawn, "--batch", "2", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    model = Clip(TINY).eval()
    model.load_state_dict(torch.load(weights, weights_only=True)["state_dict"])
    with torch.no_grad():
        said = model.texts(texts)
        chosen = {
            text: (model.images(torch.from_numpy(np.stack(pictures))) @ said.T).argmax(1).tolist()
            for text, pictures in shown.items()
        }
    right = {text: chosen[text].count(row) / 3 for row, text in enumerate(texts)}
    assert figures["of_text"] == pytest.approx(right)
    assert (figures["r_precision"], figures["chance"]) == (pytest.approx(sum(right.values()) / 2), 0.5)
    assert figures["named"] == {
        text: {texts[row]: rows.count(row) for row in set(rows)} for text, rows in chosen.items()
    }


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (["a car=first"], "expected two different texts or more"),
        (["a car=first", "a car=second"], "expected two different texts or more"),
        (["a car=first", "a van=larger"], "12x12 pixels, expected 16x16 as the first"),
        (["a car=first", "a van=nowhere"], "nowhere does not exist"),
    ],
)
def test_drawn_pictures_that_cannot_be_asked(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    drawn: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    leave_pictures(Path("first"), 0)
    leave_pictures(Path("larger"), 1)
    write_image(Path("larger/car/car000001.png"), np.zeros((4, 12, 12), np.uint8))
    words = ["evaluate", "prompts", "--weights", str(trained / "last.ckpt"), "--drawn", *drawn]
    assert main(words) == 2
    assert said in capsys.readouterr().err
