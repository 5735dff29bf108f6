"""Writes predicted assets to an asset bank."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BasePredictionWriter

from datamodules.assets.bank import AssetBankWriter
from datamodules.assets.bank_pieces import piece_folder, this_piece


class BankWriter(BasePredictionWriter):
    """Writes every asset that ``predict_step`` returns, shards of each rank, and puts the bank in place at the end.

    A step returns assets, or pairs of an asset and what else its row keeps ({"caption": "a red car", "score": 0.9};
    see :meth:`datamodules.assets.bank_writer.AssetBankWriter.write`).

    Args:
        folder: the bank's folder; replaced when it already holds a bank.
        licence: licence of the assets.
        source: what they were made from.
        seed: seed recorded in the bank.
    """

    def __init__(self, folder: str = "data/bank", licence: str = "unknown", source: str = "", seed: int = 0) -> None:
        super().__init__(write_interval="batch")
        self.folder, self.licence, self.source, self.seed = folder, licence, source, seed
        self.writer: AssetBankWriter | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        piece = this_piece()  # a bank by itself, of this process alone; whoever asked for it joins them
        self.writer = AssetBankWriter(
            self.folder if piece is None else piece_folder(self.folder, piece[0]),
            generator=type(pl_module).__name__.lower(),
            config_hash=hash_of(dict(pl_module.hparams)),
            checkpoint_hash=weights_hash(pl_module),
            licence=self.licence,
            seed=self.seed,
            source=self.source,
            rank=trainer.global_rank if piece is None else 0,
            world_size=trainer.world_size if piece is None else 1,
        )

    def write_on_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, prediction: Any, *_: Any) -> None:
        assert self.writer is not None
        for item in prediction:
            asset, facts = item if isinstance(item, tuple) else (item, {})
            self.writer.write(asset, **facts)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self.writer is not None
        self.writer.close()
        if self.writer.world_size > 1:
            trainer.strategy.barrier("bank shards closed")
            if trainer.is_global_zero:
                self.writer.merge()
        self.writer = None
        if trainer.is_global_zero:
            print(f"bank: {Path(self.folder)}")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self.writer is not None:
            self.writer.abort()
            self.writer = None


def hash_of(config: dict[str, Any]) -> str:
    """SHA-256 of a configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def weights_hash(module: pl.LightningModule) -> str:
    """SHA-256 of all parameters and buffers: equal weights give equal hashes, whatever file they came from."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
