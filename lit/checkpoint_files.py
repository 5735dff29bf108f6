"""How a training's checkpoints reach the disk."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from datamodules.files.atomic_files import disk_refusals, write_atomically
from datamodules.files.seals import SEAL_KEY
from datamodules.files.weight_files import seal


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the target and renames: a kill or a full disk leaves the checkpoint before, whole.

    Lightning's own writes into the system's folder for temporary files. Where that is another file system its move is
    a copy, which may end half-way, and what was not moved stays there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, sealed: what is changed in it afterwards is told when it is read.

        Raises:
            InputError: the disk refuses.
        """
        content = io.BytesIO()
        torch.save(checkpoint | {SEAL_KEY: seal(checkpoint, path)}, content)
        write_atomically(Path(path), content.getvalue())


def remove_parts(folder: str | Path) -> None:
    """Delete what killed writers of checkpoints left; only the owner of the folder's lock may."""
    with disk_refusals(folder):
        for path in Path(folder).glob(".*.ckpt.*.tmp"):
            with suppress(FileNotFoundError):
                path.unlink()
