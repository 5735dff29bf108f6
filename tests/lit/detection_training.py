"""A detector small enough for tests, and its training on the tiny world."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch

from datamodules.kitti.datamodule import KittiDataModule
from detectors.centernet3d import CenterNet3D
from lit.detection import LitDetector


def module(**options: object) -> LitDetector:
    torch.manual_seed(0)
    narrow = {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16]}
    net = CenterNet3D("resnet18", narrow, neck_channels=16, head_channels=8, min_score=0.0)
    return LitDetector(net, **{"lr": 3e-3, **options})  # type: ignore[arg-type]


def data(root: Path, **options: object) -> KittiDataModule:
    return KittiDataModule(str(root), **{"batch_size": 4, "seed": 0, **options})  # type: ignore[arg-type]


def trainer(folder: Path, callbacks: list[pl.Callback] | None = None, **options: object) -> pl.Trainer:
    settings = {
        "accelerator": "cpu",
        "max_steps": 3,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "default_root_dir": str(folder),
        **options,
    }
    return pl.Trainer(callbacks=callbacks or [], **settings)  # type: ignore[arg-type]
