"""Figures of a conditional generator in a run: what is logged, recorded and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError
from datamodules.images import read_image
from datamodules.objects.labelled.datamodule import LabelledViewsDataModule
from datamodules.objects.object_images import ObjectImages
from lit.callbacks.conditional_metrics import ConditionalMetrics
from lit.callbacks.record import Record
from lit.proxies.segmentation import Segmenter
from tests.datamodules.objects.labelled.drawn_pairs import write_drawn

RUN = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}


class Painter(pl.LightningModule):
    """Renders the label map as it was given; its colour follows from the latent, and the map's place from nothing."""

    def __init__(self, classes: int | None, z_dim: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.classes = classes
        self.asked: list[Tensor] = []

    def synthesise(self, labels: Tensor, z: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        assert cameras.shape == (len(labels), 25)
        self.asked.append(z)
        if self.classes is None:
            return labels.expand(-1, 3, -1, -1) * z.tanh()[:, :, None, None], labels
        maps = F.one_hot(labels, self.classes).movedim(-1, 1).float()
        return maps[:, :1] * z.tanh()[:, :, None, None], maps

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    test_step = validation_step


def data(folder: Path, kind: Literal["edge", "seg"], **options: Any) -> LabelledViewsDataModule:
    images, labels = write_drawn(folder, objects=3, views=3, kind=kind, **options)
    return LabelledViewsDataModule(
        str(images), str(labels), kind, None if kind == "edge" else 3, val_every=3, batch_size=2
    )


def scored(folder: Path, model: pl.LightningModule, views: pl.LightningDataModule, stage: str, **options: Any) -> Any:
    chosen: dict[str, Any] = {"lpips": None, **options}
    record, metrics = Record(samples=0), ConditionalMetrics(**chosen)
    trainer = pl.Trainer(default_root_dir=folder, callbacks=[metrics, record], **RUN)  # type: ignore[arg-type]
    getattr(trainer, "test" if stage == "test" else "validate")(model, views, verbose=False)
    return record.metrics, json.loads((folder / f"conditional_{stage}.json").read_text())


def test_a_generator_of_edges_is_scored_and_drawn(tmp_path: Path) -> None:
    model = Painter(None)
    metrics, left = scored(tmp_path, model, data(tmp_path, "edge"), "test", samples=3, reader="auto", rows=2)
    assert set(metrics) == {f"test/{name}" for name in ("fid", "kid", "ap", "ap_rgb", "ap_rgb_real")}
    assert metrics["test/ap"] == 1
    assert 0 < metrics["test/ap_rgb"] < 1
    assert left["counts"] == {"maps": 3, "images": 9}
    assert "fid/random-0" in left["evaluator"]["name"]
    assert "edges: step-wise" in left["evaluator"]["name"]
    assert len({tuple(row) for z in model.asked for row in z.tolist()}) == 9  # every sample has its own latent
    sheet = read_image(tmp_path / "conditional_test.png")
    assert sheet.shape == (3, 2 * 16 + 2, 6 * 18 - 2)  # map, picture, three samples, rendered map


def test_a_generator_of_segmentations_is_the_same_at_every_call(tmp_path: Path) -> None:
    model, views = Painter(3), data(tmp_path, "seg")
    first, _ = scored(tmp_path, model, views, "val", val_samples=2)
    drawn = torch.cat(model.asked)
    model.asked.clear()
    second, _ = scored(tmp_path, model, views, "val", val_samples=2, reference="held_out", reader="auto")
    assert set(first) == set(second)  # a gradient reads edges, not segmentations
    assert torch.equal(torch.cat(model.asked), drawn)
    assert first["val/miou"] == first["val/accuracy"] == second["val/miou"] == 1
    assert first["val/fid"] != second["val/fid"]  # nine reference pictures, and three


def test_a_segmenter_reads_label_maps_from_images(tmp_path: Path) -> None:
    segmenter = Segmenter(
        ["class 2", "class 0", "class 1"],
        encoder="resnet18",
        options={"encoder_depth": 3, "decoder_channels": [8, 8, 8]},
    )
    path = tmp_path / "segmenter.ckpt"
    trainer = pl.Trainer(default_root_dir=tmp_path, max_steps=0, **RUN)  # type: ignore[arg-type]
    trainer.strategy.connect(segmenter)
    trainer.save_checkpoint(path, weights_only=True)
    metrics, _ = scored(tmp_path, Painter(3), data(tmp_path, "seg"), "val", reader=str(path))
    assert set(metrics) >= {"val/miou_rgb", "val/accuracy_rgb", "val/miou_rgb_real"}
    (tmp_path / "edges").mkdir()
    edges = data(tmp_path / "edges", "edge")
    with pytest.raises(InputError, match="a segmenter of class 2, class 0, class 1, expected paper among them"):
        scored(tmp_path, Painter(None), edges, "val", reader=str(path))


def test_what_cannot_be_scored_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"LightningModule has no synthesise\(labels, z, cameras\) or no z_dim"):
        ConditionalMetrics(lpips=None).setup(pl.Trainer(**RUN), pl.LightningModule(), "fit")  # type: ignore[arg-type]
    trainer = pl.Trainer(**RUN)  # type: ignore[arg-type]
    trainer.datamodule = ObjectImages("nowhere", create=False)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="ObjectImages has no label maps"):
        ConditionalMetrics(lpips=None).setup(trainer, Painter(None), "fit")
    (tmp_path / "seg").mkdir()
    with pytest.raises(InputError, match="reader 'gradient' reads edges"):
        scored(tmp_path, Painter(3), data(tmp_path / "seg", "seg"), "val", reader="gradient")
    with pytest.raises(InputError, match="samples 0: expected at least 1"):
        ConditionalMetrics(samples=0)


def test_label_pictures_tell_classes_apart() -> None:
    from lit.pictures.label_maps import class_colours, label_picture

    colours = class_colours(19)
    assert len({tuple(colour) for colour in colours.tolist()}) == 19
    assert label_picture(np.array([[0, 2]]), 3)[0].tolist() == class_colours(3)[[0, 2]].tolist()
    assert label_picture(np.array([[-1.0, 1.0]]))[0].tolist() == [[0, 0, 0], [255, 255, 255]]
