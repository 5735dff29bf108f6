"""Scores of generated views: what is logged and left behind, whatever a generator returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.objects.posed_datamodule import PosedDataModule
from datamodules.objects.posed_rays import PosedObject
from lit.callbacks.generation_metrics import GenerationMetrics
from lit.callbacks.record import Record
from lit.metrics.geometry import non_flatness_scores
from lit.metrics.maps.views import box_depth, premultiplied
from lit.rendering.rendered_views import RenderedViews
from lit.results import read_result
from tests.lit.posed_boxes import write_posed_boxes

BASE = {"psnr", "psnr_object", "mask_iou", "ssim", "perceptual"}


class Copy(pl.LightningModule):
    """Shows the observed views, brightened, in whatever form is asked for."""

    def __init__(self, form: str = "tensor", brighter: float = 0.0) -> None:
        super().__init__()
        self.form, self.brighter = form, brighter

    def depth(self, batch: PosedObject) -> Tensor:
        """A plane that leans away from the camera, through the box's middle; NaN beside the object."""
        size = batch.rgba.shape[1]
        lean = torch.linspace(-0.5, 0.5, size).expand(len(batch.rgba), size, size)
        return torch.where(batch.rgba[..., 3] > 127, batch.projection[:, 2, 3, None, None] + lean, float("nan"))

    def validation_step(self, batch: PosedObject, batch_idx: int) -> Any:
        rgba = premultiplied(batch.rgba)
        rgba[..., :3] = (rgba[..., :3] + self.brighter * rgba[..., 3:]).clamp(max=1)
        if self.form == "depth":
            return RenderedViews(rgba, self.depth(batch))
        if self.form == "empty":
            return RenderedViews(rgba * 0, self.depth(batch) * 0)
        return rgba if self.form == "tensor" else None

    test_step = validation_step

    def predict_step(self, batch: PosedObject, batch_idx: int) -> list[Any]:
        if self.form == "none":
            return []
        grid = np.full((16, 8, 8, 4), 120, np.uint8)
        return [VoxelAsset(batch.id, batch.name, batch.dims, grid)]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=3)


def data(folder: Path) -> PosedDataModule:
    return PosedDataModule(str(folder), held_out_every=6, create=False)


def trainer(folder: Path, *callbacks: pl.Callback) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, default_root_dir=folder, callbacks=list(callbacks),
    )  # fmt: skip


def validated(boxes: Path, folder: Path, model: Copy, **options: Any) -> Mapping[str, float]:
    return trainer(folder, GenerationMetrics(**options)).validate(model, datamodule=data(boxes), verbose=False)[0]


def test_perfect_views(boxes: Path, tmp_path: Path) -> None:
    figures = validated(boxes, tmp_path, Copy())
    assert set(figures) == {f"val/{name}" for name in BASE}
    assert figures["val/psnr"] == pytest.approx(100)
    assert figures["val/ssim"] == figures["val/mask_iou"] == pytest.approx(1)
    assert figures["val/perceptual"] == 0
    left = json.loads((tmp_path / "views_val.json").read_text())
    assert left["counts"] == {"views": 6, "nfs_views": 0}
    assert {f"val/{name}": left[name] for name in BASE} == pytest.approx(figures)
    assert "psnr" in left["evaluator"]["name"]
    assert (tmp_path / "views_val.png").stat().st_size > 500
    assert validated(boxes, tmp_path, Copy(brighter=0.2))["val/psnr"] < 40


def test_depth_is_scored_within_the_objects_box(boxes: Path, tmp_path: Path) -> None:
    model = Copy("depth")
    figures = validated(boxes, tmp_path, model)
    module = data(boxes)
    module.setup()
    expected = []
    for batch in module.val_dataloader():
        depth, mask = model.depth(batch).double().numpy(), batch.rgba[..., 3].numpy() > 127
        for one, inside, projection in zip(depth, mask, batch.projection.numpy()):
            corners = [projection[2] @ [x, y, z, 1] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
            chosen = torch.from_numpy(one[inside][None])
            expected.append(float(non_flatness_scores(chosen, min(corners), max(corners))))
    assert figures["val/nfs"] == pytest.approx(np.mean(expected), rel=0.02)
    assert figures["val/nfs"] > 3
    assert json.loads((tmp_path / "views_val.json").read_text())["counts"]["nfs_views"] == 6
    within = box_depth(torch.tensor([[[8.0, 7.0, 9.5]]]), torch.tensor([[[0.0] * 4, [0.0] * 4, [0.5, 0.0, -1.0, 8.0]]]))
    assert within.flatten().tolist() == pytest.approx([0.5, 1 / 6, 1])


def test_an_empty_render_has_no_geometry(boxes: Path, tmp_path: Path) -> None:
    figures = validated(boxes, tmp_path, Copy("empty"))
    assert set(figures) == {f"val/{name}" for name in BASE}
    assert figures["val/mask_iou"] == 0


def test_distances_of_sets_name_their_extractor(boxes: Path, tmp_path: Path) -> None:
    options = {"extractor": "random:0", "kid_subsets": 4, "kid_subset_size": 5}
    same = validated(boxes, tmp_path, Copy(), **options)
    other = validated(boxes, tmp_path, Copy(brighter=0.3), **options)
    assert abs(same["val/fid"]) < 1e-3 < other["val/fid"]
    assert other["val/kid"] > same["val/kid"]
    assert "fid/random" in json.loads((tmp_path / "views_val.json").read_text())["evaluator"]["name"]


@pytest.mark.filterwarnings("ignore")
def test_steps_and_batches_without_views_are_left_out(boxes: Path, tmp_path: Path) -> None:
    assert validated(boxes, tmp_path, Copy("none")) == {}
    run = trainer(tmp_path, GenerationMetrics())
    run.predict(Copy("none"), datamodule=data(boxes))

    class Plain(Copy):
        def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
            return torch.rand(1, 16, 16, 4)

    loader: DataLoader = DataLoader([1, 2])  # type: ignore[arg-type]  # any sequence will do
    assert trainer(tmp_path, GenerationMetrics()).validate(Plain(), loader, verbose=False) == [{}]
    assert not (tmp_path / "views_val.json").exists()


def test_baked_assets_are_scored_with_depth(boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trainer(tmp_path, GenerationMetrics(folder=str(tmp_path / "out")))
    run.predict(Copy(), datamodule=data(boxes), return_predictions=False)
    left = json.loads((tmp_path / "out" / "views_bank.json").read_text())
    assert left["counts"] == {"views": 6, "nfs_views": 6}
    assert {*BASE, "nfs", "counts", "evaluator"} == set(left)
    assert left["mask_iou"] > 0.6
    assert "baked assets on held-out views: psnr" in capsys.readouterr().out


def test_record_takes_figures_counts_and_evaluator(boxes: Path, tmp_path: Path) -> None:
    record = Record()
    run = trainer(tmp_path, record, GenerationMetrics(extractor="random:3"))
    run.test(Copy("depth"), datamodule=data(boxes), verbose=False)
    record.write(run, "test")
    result = read_result(tmp_path / "result.json")
    assert set(result.metrics) == {f"test/{name}" for name in (*BASE, "nfs", "fid", "kid")}
    stated = result.content["evaluator"]
    assert stated["counts"] == {"views": 6, "nfs_views": 6}
    assert "nfs-1" in stated["version"]
    assert "kid/random" in stated["name"]
