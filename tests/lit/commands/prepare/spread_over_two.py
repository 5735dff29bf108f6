"""What renders or samples, over the cluster that $LIFTBENCH_RAY names, if any: ``python -m ... FOLDER``.

For a process of its own where there is a cluster. One cluster serves all commands: to start one takes longer than they.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning.pytorch as pl

from datamodules.errors import InputError
from datamodules.processes import run_jobs
from lit.cli import ROOT, main
from lit.proxies.segmentation import Segmenter
from lit.weights import write_stylegan2
from tests.lit.posed_boxes import write_posed_boxes
from tests.lit.posing.test_views import SIZE, Blob, small
from tests.lit.test_predict_pieces import CONFIG, ToyBaker

WORKERS = "2"
PREPARED = {
    "posed": "prepare posed --objects 5 --views 3 --size 16 --seed 3",
    "labelled": "prepare labelled --objects 3 --views 2 --size 16",
    "photographs": "prepare depth-images --objects 5 --size 16",
    "renders": "prepare dst-renders --studio car --models 3 --views 2 --size 24 --supersample 1",
    "world": "prepare world --train 3 --val 2 --width 64 --height 32",
    "surround": "prepare surround --train-scenes 1 --val-scenes 1 --samples 1 --width 32 --height 24",
}


def picky(number: int) -> int:
    """Three times the number, unless it is seven."""
    if number == 7:
        raise InputError("number 7: expected another one")
    return 3 * number


def write_all(folder: Path) -> None:
    """Write a set of each kind below a folder, and a bank.

    Raises:
        AssertionError: a command failed.
    """
    for name, words in PREPARED.items():
        assert main([*words.split(), "--root", str(folder / name), "--workers", WORKERS]) == 0, name
    prompts = ["prepare", "dst-prompts", "--root", str(folder / "renders"), "--visual", "canny", "depth", "normal"]
    assert main([*prompts, "--workers", WORKERS]) == 0
    assert main(in_place(folder)) == 0
    assert main(gan_views(folder)) == 0
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.strategy.connect(ToyBaker())
    trainer.save_checkpoint(folder / "baker.ckpt", weights_only=True)
    (folder / "bank.yaml").write_text(CONFIG.replace("FOLDER", str(folder / "bank")))
    assert main(["predict", "-c", str(folder / "bank.yaml"), "--ckpt_path", str(folder / "baker.ckpt")]) == 0


def in_place(folder: Path) -> list[str]:
    """The words that place meshes in the world's frames and leave them as they are."""
    data = ["--data.root", str(folder / "world"), "--data.injection", str(ROOT / "conf" / "injection" / "mesh.yaml")]
    words = ["-c", str(ROOT / "conf" / "experiment" / "world_centernet.yaml"), "--strength", "0", *data]
    return ["prepare", "dst-in-place", "--bank", str(folder / "in_place"), "--workers", WORKERS, *words]


def gan_views(folder: Path) -> list[str]:
    """The words that write views of a small GAN's cars; its segmenter is a :class:`Blob`."""
    Segmenter.load = staticmethod(lambda path: Blob())  # type: ignore[assignment,method-assign]
    inputs = folder.parent / "gan"
    if not inputs.is_dir():
        inputs.mkdir(parents=True)
        write_stylegan2(inputs / "gan.safetensors", small())
        (inputs / "seg.ckpt").write_text("weights")
        write_posed_boxes(inputs / "templates", objects=2, views=6, size=SIZE)
    files = ["--generator", str(inputs / "gan.safetensors"), "--segmenter", str(inputs / "seg.ckpt")]
    paths = ["--templates", str(inputs / "templates"), "--root", str(folder / "gan")]
    return [
        "prepare",
        "gan-views",
        *files,
        *paths,
        *["--pose-layers", "2", "--steps", "4"],
        *["--views", "4", "--objects", "3"],
    ]


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
    print(run_jobs(picky, range(6), int(WORKERS), False, "numbers"))
    try:
        run_jobs(picky, range(9), int(WORKERS), False, "numbers")
    except InputError as refused:
        print(refused)
