"""The model of an experiment, built as its file says, for commands that use one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def configured_model(config: Path, options: Sequence[str] = ()) -> Any:
    """The LightningModule of an experiment, without data and trainer.

    Args:
        config: the experiment's file.
        options: further ones as ``fit`` takes them.

    Raises:
        InputError: no such file, or for anything ``fit`` would refuse.
    """
    from jsonargparse import ArgumentParser
    from lightning.pytorch import LightningModule

    from datamodules.errors import InputError
    from lit.config_errors import causes
    from lit.trainer_cli import resolve

    if not config.is_file():
        raise InputError(f"{config}: no such file; expected an experiment such as conf/experiment/lift3d.yaml")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model")
    chosen = resolve(["fit", "-c", str(config), *options])["model"]
    try:
        return parser.instantiate(parser.parse_object({"model": chosen})).model
    except ValueError as error:  # what a constructor refuses comes wrapped
        refused = next((cause for cause in causes(error) if isinstance(cause, InputError)), None)
        if refused is None:
            raise
        raise refused from error
