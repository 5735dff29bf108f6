"""Checkpoints of trainings (Lightning's ``.ckpt``), looked at before a trainer is built around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from datamodules.files.weight_files import read_content

EXPECTED = "a checkpoint of a training, such as runs/NAME/last.ckpt"
RESUMED = ("loops", "optimizer_states", "lr_schedulers")  # without these a training cannot go on


def check_checkpoint(path: str | Path, resumed: bool, steps: int | None = None) -> None:
    """Check that a file is a whole checkpoint of a training, and that a training can go on from it.

    Args:
        path: the file.
        resumed: whether a training is to go on from it.
        steps: how long that training is to be; None for any length.

    Raises:
        InputError: it is something else, damaged, or of a training whose learning rate's schedule ends before.
    """
    content = read_content(path, EXPECTED)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise InputError(f"{path}: holds {_described(content)}; expected {EXPECTED}")
    if "pytorch-lightning_version" not in content:
        raise InputError(f"{path}: holds weights without a training; expected {EXPECTED}")
    if missing := [key for key in RESUMED if resumed and not isinstance(content.get(key), dict | list)]:
        raise InputError(f"{path}: holds no {missing[0]}, a training cannot go on from it; expected {EXPECTED}")
    ends = [state["total_steps"] for state in content.get("lr_schedulers") or () if _ends(state)]
    if resumed and steps is not None and ends and min(ends) < steps:
        raise InputError(
            f"{path}: its learning rate's schedule ends after {min(ends)} steps, expected the {steps} of "
            "trainer.max_steps; give the training's own number, or train anew without --ckpt_path"
        )


def _ends(state: Any) -> bool:
    return isinstance(state, dict) and isinstance(state.get("total_steps"), int)


def _described(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return ", ".join(ascii(key)[:40] for key in list(content)[:4]) or "nothing"
