"""``evaluate images`` from the command line: figures, record, and errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.errors import InputError
from lit.commands.evaluate.command import main
from lit.features.random_extractor import RandomExtractor
from lit.metrics.image.scores import frechet_distance, inception_scores, kernel_distances, precision_recall


def stack(seed: int, count: int, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, (count, 16, 18, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """12 real images in a folder, 15 generated ones in an npz."""
    root = tmp_path_factory.mktemp("sets")
    (root / "real").mkdir()
    for index, image in enumerate(stack(0, 12)):
        Image.fromarray(image).save(root / "real" / f"{index:02d}.png")
    np.savez(root / "fake.npz", stack(1, 15, 200))
    return str(root / "real"), str(root / "fake.npz")


def test_figures_and_record(sets: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "record" / "images.json"
    command = ["images", "--real", sets[0], "--fake", sets[1], "--extractor", "random:0", "--batch", "4"]
    assert main([*command, "--metrics", "fid", "kid", "is", "pr", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    extractor = RandomExtractor(0)
    real, _ = extractor.both(torch.from_numpy(stack(0, 12).transpose(0, 3, 1, 2).copy()))
    fake, logits = extractor.both(torch.from_numpy(stack(1, 15, 200).transpose(0, 3, 1, 2).copy()))
    assert logits is not None
    kid, score = kernel_distances(real, fake, 100, 12), inception_scores(logits.softmax(1))
    precision, recall = precision_recall(real, fake)
    expected = {
        "fid/random-0": frechet_distance(real, fake),
        "kid/random-0": kid.mean(),
        "kid_std/random-0": kid.std(),
        "is/random-0": score.mean(),
        "is_std/random-0": score.std(),
        "precision/random-0": precision,
        "recall/random-0": recall,
    }
    assert record["metrics"] == pytest.approx(expected, rel=1e-9)
    assert record["counts"] == {"real": 12, "fake": 15}
    assert record["extractor"] == {"name": "random-0", "version": "1", "dims": 64}
    assert record["evaluator"] == {"name": "images/random-0", "version": "1+1"}
    assert record["options"]["kid_subset_size"] == 12
    shown = capsys.readouterr().out
    assert "15 generated, 12 real" in shown
    assert "precision" in shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--extractor", "inception"], "needs a file of weights"),
        (["--extractor", "random:0", "--metrics", "fidd"], r"invalid choice.*did you mean 'fid'"),
        (["--extractor", "random:0", "--resize", "cleanfid"], "only inception has a choice"),
        (["--extractor", "random:0", "--real", "no/where"], "no such folder"),
        (["--extractor", "random:0", "--device", "tpu9"], "--device tpu9"),
        (["--extractor", "random:0", "--batch", "0"], "--batch 0"),
        (["--extractor", "random:0", "--fkae", "x"], "did you mean '--fake'"),
        (["--extractor", "random:0", "--out", "/dev/null/x.json"], "cannot be written"),
    ],
)
def test_errors_are_one_line(sets: tuple[str, str], options: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        main(["images", "--real", sets[0], "--fake", sets[1], *options])
    assert "\n" not in str(caught.value)


def test_small_sets_are_refused_before_any_feature(sets: tuple[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", stack(0, 3))
    command = ["images", "--real", sets[0], "--extractor", "random:0"]
    for metric, says in (("is", "is needs at least 10"), ("pr", "pr needs at least 4")):
        with pytest.raises(InputError, match=f"--fake holds 3 images: {says}"):
            main([*command, "--fake", str(tmp_path / "few.npz"), "--metrics", metric])


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys; from lit.commands.evaluate.command import main\n"
        "try: main(['images', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("False")
    assert "--extractor" in run.stdout
