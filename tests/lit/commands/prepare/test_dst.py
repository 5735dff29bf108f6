"""``prepare dst-renders`` and ``dst-prompts``: a collection with its list, the studio, one line for bad input."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.renders.render_set import RenderSet
from lit.cli import main
from tests.datamodules.renders.cad_folders import write_shapenet

SMALL = ["--size", "24", "--views", "2", "--supersample", "1", "--workers", "1"]


def test_a_collection_is_rendered_as_its_list_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cad, rows, root = write_shapenet(tmp_path / "cad", 2), tmp_path / "list.csv", tmp_path / "out"
    rows.write_text("synset,model_id,distance,azimuth,strength,sampling\n02958343,car1,3,180,0.7,2\n")
    words = ["prepare", "dst-renders", "--cad", str(cad), "--list", str(rows), "--root", str(root), *SMALL]
    with pytest.warns(UserWarning, match="not watertight"):
        assert main(words) == 0
    assert "2 renders of 1 models (1 Car)" in capsys.readouterr().out
    (first, second) = RenderSet.load(root)
    found = first.annotation
    assert (found.name, found.words, found.strength, found.sampling) == ("Car", "car", 0.7, 2)
    assert found.distance == pytest.approx(3 * max(found.dims))
    assert max(found.dims) == pytest.approx(3.88)
    assert abs((found.azimuth + 180) % 360 - 180) <= 105
    assert found.azimuth != second.annotation.azimuth
    assert main(["prepare", "dst-prompts", "--root", str(root), "--visual", "canny", "--workers", "1"]) == 0
    assert "2 text prompts and 2 visual prompts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--studio", "cra"], "studio class 'cra': expected some of car, van"),
        (["--studio", "car", "--list", "x.csv"], "--studio: expected without --list"),
        (["--cad", "nowhere"], "nowhere: no such folder"),
        (["--studio", "car", "--scale", "big"], "expected class, file, or metres"),
        (["--studio", "car", "--samples", "5"], "views 2, samples 5: expected one of both"),
        (["--studio", "car", "--distance", "0.2"], "distance 0.2: expected 0.9 to 100"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "dst-renders", "--root", str(tmp_path / "out"), "--models", "1", *SMALL, *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_a_language_models_folder_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "out"
    assert main(["prepare", "dst-renders", "--root", str(root), "--studio", "bicycle", "--models", "1", *SMALL]) == 0
    assert main(["prepare", "dst-prompts", "--root", str(root), "--language-model", str(tmp_path)]) == 2
    assert "no config.json, expected a language model's folder" in capsys.readouterr().err


def test_a_language_model_continues_prompts(tmp_path: Path) -> None:
    """A tiny one of random weights: its words mean nothing, and the same seed gives the same ones."""
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    from lit.generators.dst.language_prompts import LanguageCompleter

    letters = ("<|endoftext|>", "\u0120", "\u011b", *"AaPpocfhrt")  # a space and an escape as GPT-2 spells them
    GPT2Tokenizer(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]).save_pretrained(tmp_path)
    sizes = {"vocab_size": len(letters), "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
    GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).save_pretrained(tmp_path)
    complete = LanguageCompleter(tmp_path, words=12)
    said = complete("A photo of a car", 3)
    assert said == complete("A photo of a car", 3)
    several = {complete("A photo of a car", seed) for seed in range(6)}
    assert len(several) > 1
    assert all(text.isprintable() for text in several)  # prompts.json holds nothing else
    for file in tmp_path.glob("tokenizer*"):
        file.rename(file.with_name(f"no_{file.name}"))
    with pytest.raises(
        InputError, match=r"cannot continue 'A photo of a car' .*; expected a tokenizer beside the model"
    ):
        LanguageCompleter(tmp_path)("A photo of a car", 0)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(InputError, match="no language model can be loaded from it"):
        LanguageCompleter(tmp_path)
