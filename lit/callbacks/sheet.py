"""A sheet of pictures and its figures, where people look for them: with the loggers and in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np

from datamodules.images import write_image
from lit.callbacks.logged import log_picture
from lit.results import write_json


def leave_sheet(
    trainer: pl.Trainer, stage: str, name: str, sheet: np.ndarray | None, figures: Mapping[str, Any], folder: str | None
) -> None:
    """Log a sheet as ``STAGE/NAME`` and write ``NAME_STAGE.png`` and ``.json``; call it in the first process only.

    Args:
        trainer: whose loggers take the picture; a ``fast_dev_run`` writes no file.
        stage: "val", "test" or another.
        name: of the sheet.
        sheet: (H, W, 3) uint8, or None when there is nothing to show.
        figures: written as JSON.
        folder: where to; None for the run's folder.
    """
    if sheet is not None:
        log_picture(trainer, f"{stage}/{name}", sheet)
    if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Lightning's setup, not declared
        return
    target = Path(folder or trainer.default_root_dir)
    if sheet is not None:
        write_image(target / f"{name}_{stage}.png", sheet.transpose(2, 0, 1))
    write_json(target / f"{name}_{stage}.json", figures)
