"""The configurations of pictures with label maps: they resolve, and the segmenter of parts trains a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.cli import ROOT, main
from lit.proxies.segmentation import Segmenter
from lit.results import read_result
from lit.trainer_cli import resolve
from tests.datamodules.objects.labelled.drawn_pairs import write_drawn

CONF = ROOT / "conf"
EXPERIMENT = str(CONF / "experiment" / "part_segmenter.yaml")
FILES = [CONF / "data" / f"labelled_{name}.yaml" for name in ("edge", "seg", "studio_edge", "studio_seg")]


@pytest.mark.parametrize(
    "path",
    [CONF / "data" / f"labelled_{name}.yaml" for name in ("edge", "seg", "studio_edge", "studio_seg")],
    ids=lambda path: path.stem,
)
def test_every_data_file_resolves(path: Path) -> None:
    chosen = resolve(["fit", "-c", EXPERIMENT, "--data", str(path)])["data"]["init_args"]
    assert chosen["kind"] == path.stem.split("_")[-1]
    assert chosen["create"] == ("studio" in path.stem)
    if chosen["create"]:
        assert Path(chosen["labels"]) == Path(chosen["images"]).parent / f"{chosen['kind']}.zip"


@pytest.mark.parametrize("kind", ["seg", "edge"])
def test_the_segmenter_of_parts_trains_a_step_and_loads(kind: str, tmp_path: Path) -> None:
    images, labels = write_drawn(tmp_path, objects=3, views=2, size=32, kind=kind)
    names = ["background", "body", "window"] if kind == "seg" else ["paper", "line"]
    options = ["--data.images", str(images), "--data.labels", str(labels), "--data.kind", kind, "--data.val_every", "3"]
    options += ["--data.test_every", "null", "--data.batch_size", "2", "--model.classes", f"[{', '.join(names)}]"]
    options += ["--data.classes", "3"] if kind == "seg" else []
    fast = ["--trainer.max_steps", "1", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "-c", EXPERIMENT, *options, *fast, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0
    metrics = read_result(tmp_path / "run" / "result.json").metrics
    assert {"val/iou", *(f"val/iou/{name}" for name in names)} <= set(metrics)
    assert Segmenter.load(tmp_path / "run" / "last.ckpt").classes == names
