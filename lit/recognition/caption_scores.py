"""What CLIP knows of pictures that no training saw: words chosen for them, and their own captions found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from datamodules.recognition.captioned_images import CaptionBatch, CaptionedImages
from datamodules.recognition.captions import OPENINGS_OF_CAPTIONS, SHADES, VIEW_SIDES, caption, phrases
from lit.metrics.maps.single_view import MeanRow
from lit.recognition.clip import Clip


class CaptionScores(pl.Callback):
    """Logs, over the held-out pictures of all processes, each beside what chance gives:

    * ``val/class_accuracy``, ``val/paint_accuracy``, ``val/side_accuracy``: the word whose text is nearest to the
      picture (open_clip's zero-shot classifier over all openings of captions); paint and side are asked of the
      picture's own class, paint of what has one. Chance is the commonest word's share, which a constant answer scores.
    * ``val/retrieval_at_1``: the nearest of all held-out captions reads as the picture's own. Chance is that of a
      caption drawn from them.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, MeanRow] = {}
        self._words: dict[tuple[str, str], Tensor] = {}
        self._said: dict[str, list[str]] = {}
        self._captions: list[str] = []
        self._texts = torch.zeros(0, 0)

    @property
    def evaluator(self) -> dict[str, Any] | None:
        """Name and version of what scores; the run's record asks for it."""
        return {"name": "zero-shot accuracy and retrieval at 1", "version": "captions-1"} if self.metrics else None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        from open_clip import build_zero_shot_classifier  # type: ignore[import-untyped]  # ships no type information

        self.metrics = {}
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, CaptionedImages) or not isinstance(pl_module, Clip):
            return
        facts = data.held_out_facts()
        choices = {"class": data.classes, "paint": tuple(SHADES), "side": VIEW_SIDES}
        self._said = {
            "class": [one.name for one in facts],
            "paint": [one.paint for one in facts if one.paint],
            "side": [one.side for one in facts],
        }
        asked = [f"{slot}_accuracy" for slot, words in self._said.items() if words]
        self.metrics = {name: MeanRow(name) for name in (*asked, "retrieval_at_1")}  # on every process the same ones
        self._captions = [caption(one) for one in facts]
        with torch.no_grad():
            self._texts = torch.cat([pl_module.texts(self._captions[i : i + 256]) for i in range(0, len(facts), 256)])
        for slot, words in choices.items():
            for name in ("",) if slot == "class" else data.classes:
                self._words[slot, name] = build_zero_shot_classifier(
                    pl_module.network,
                    pl_module.tokenizer,
                    phrases(slot, name, words),
                    OPENINGS_OF_CAPTIONS,
                    None,
                    pl_module.device,
                )

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self.metrics or not isinstance(outputs, Tensor) or not isinstance(batch, CaptionBatch):
            return
        outputs = outputs.float()  # half precision's where the trainer's is
        nearest = (outputs @ self._texts.T).argmax(1).tolist()
        found = [float(self._captions[row] == own) for row, own in zip(nearest, batch.captions)]
        self.metrics["retrieval_at_1"].update(torch.tensor(found), batch.ids)
        classes: tuple[str, ...] = trainer.datamodule.classes  # type: ignore[attr-defined]  # CaptionedImages, see above
        for vector, facts, identity in zip(outputs, batch.facts.tolist(), batch.ids):
            for slot, truth in zip(self._said, facts):
                if truth >= 0:
                    words = self._words[slot, "" if slot == "class" else classes[facts[0]]]
                    right = torch.tensor([float(int((vector @ words).argmax()) == truth)])
                    self.metrics[f"{slot}_accuracy"].update(right, [identity])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.metrics:
            return
        figures = {f"val/{name}": metric.compute() for name, metric in self.metrics.items()}
        commonest = {
            slot: Counter(words).most_common(1)[0][1] / len(words) for slot, words in self._said.items() if words
        }
        figures |= {f"val/{slot}_chance": share for slot, share in commonest.items()}
        same = Counter(self._captions)
        figures["val/retrieval_chance"] = sum(count**2 for count in same.values()) / len(self._captions) ** 2
        pl_module.log_dict(figures, sync_dist=True)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
