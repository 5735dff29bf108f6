"""Scores of generators that make images of label maps, and a sheet of maps, images and rendered maps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.objects.labelled_views import LabelledViews
from datamodules.randomness import derive
from lit.callbacks.sheet import leave_sheet
from lit.metrics.maps.conditional_scores import ConditionalScores, Reader, pixels
from lit.metrics.maps.edge_strength import edge_strength
from lit.pictures.label_maps import label_picture
from lit.pictures.pictures import stacked
from lit.proxies.torchvision_segmenter import AnySegmenter, load_segmenter

SHOWN = 4  # samples a row of the sheet


@runtime_checkable
class Synthesiser(Protocol):
    """What the callback asks of a generator, beside ``z_dim``, the width of a latent, as attribute or hyperparameter.

    A ``validation_step`` and a ``test_step`` have to be there, or Lightning validates nothing; they may return None.
    """

    def synthesise(self, labels: Tensor, z: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        """Images and label maps as seen by some cameras, without gradient, of the weights that shall be judged.

        Args:
            labels: (B, H, W) int64 class numbers, or (B, 1, H, W) edges in [-1, 1], paper +1.
            z: (B, z_dim) standard normal.
            cameras: (B, 25), see :class:`datamodules.objects.labelled_views.LabelledViews`.

        Returns:
            Images (B, 3, H, W) in [-1, 1], and (B, C, H, W) logits or (B, 1, H, W) edges.
        """
        ...


def latent_width(model: Any) -> int:
    """Width of a generator's latents; 0 where it states none."""
    return int(getattr(model, "z_dim", 0) or model.hparams.get("z_dim", 0))


class ConditionalMetrics(pl.Callback):
    """Logs pix2pix3D's figures: ``fid``, ``kid``, ``sg_diversity``, and ``miou`` and ``accuracy``, or ``ap``.

    Works with every :class:`Synthesiser` whose data module gives :class:`LabelledViews` in validation and test, and has
    ``kind``, ``class_names`` and ``reference_dataloader()`` as
    :class:`datamodules.objects.labelled.datamodule.LabelledViewsDataModule` does; the module's own steps are not used.
    Each label map is rendered at its own camera, with latents that follow from the seed, the map's key and the sample's
    number. Figures are those of all processes; :mod:`lit.metrics.maps.conditional_scores` explains their names.
    ``conditional_<stage>.png`` shows a map a row: the map, its picture, samples, the map rendered with the first;
    ``conditional_<stage>.json`` states figures, evaluator and counts.

    Args:
        samples: images a label map in the test.
        val_samples: images a label map in validation.
        reader: what re-extracts label maps from images: checkpoint of a segmenter of the same class names (of edges:
            paper, line); "gradient", for edges, is Scharr's; "auto" is that where the maps are edges, else None, which
            leaves the ``_rgb`` figures out.
        reference: pictures that the images are compared with: "all" of the data set, as in the paper, or "held_out",
            those of the label maps.
        rows: label maps on the sheet.
        seed: of the latents.
        folder: where sheet and figures are written; None for the run's folder.
        scores: see :class:`lit.metrics.maps.conditional_scores.ConditionalScores`.
    """

    def __init__(
        self,
        samples: int = 10,
        val_samples: int = 2,
        reader: str | None = None,
        reference: Literal["all", "held_out"] = "all",
        rows: int = 8,
        seed: int = 0,
        folder: str | None = None,
        **scores: Any,
    ) -> None:
        for name, value in (("samples", samples), ("val_samples", val_samples)):
            if value < 1:
                raise InputError(f"{name} {value}: expected at least 1")
        self.samples, self.val_samples, self.reference, self.rows = samples, val_samples, reference, rows
        self.seed, self.folder = seed, folder
        self.source = reader
        self.model: AnySegmenter | None = None
        if reader not in (None, "gradient", "auto"):
            self.model = load_segmenter(str(reader))
        self.scores = ConditionalScores(**scores)
        self.tiles: list[list[np.ndarray]] = []

    @property
    def evaluator(self) -> dict[str, Any]:
        """Names and versions of what scores, and the maps and images behind the figures on this process."""
        return self.scores.evaluator

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Say before a training begins what could not be scored after it.

        Raises:
            InputError: the module is no :class:`Synthesiser`, or the data has no label maps.
        """
        if not isinstance(pl_module, Synthesiser) or not latent_width(pl_module):
            raise InputError(
                f"ConditionalMetrics: {type(pl_module).__name__} has no synthesise(labels, z, cameras) or no z_dim; "
                "leave the callback out"
            )
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "reference_dataloader"):
            raise InputError(f"ConditionalMetrics: {type(data).__name__} has no label maps; expected labelled views")

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.tiles = []
        if trainer.sanity_checking:
            return
        data: Any = getattr(trainer, "datamodule", None)
        names = None if data.kind == "edge" else data.class_names
        self.scores.start(names and len(names), self._reader(data, pl_module.device), pl_module.device)
        if self.reference == "all" and self.scores.sets and not self.scores.reference:
            batches: Iterable[LabelledViews] = data.reference_dataloader()
            for batch in batches:
                self.scores.add_reference(batch.images.to(pl_module.device), batch.keys)
            self.scores.keep_reference()

    def _reader(self, data: Any, device: torch.device) -> Reader | None:
        """The re-extraction for this data's classes.

        Raises:
            InputError: a gradient for segmentations, or a segmenter without one of the classes.
        """
        if self.source == "auto" and data.kind != "edge":
            return None
        if self.source in ("gradient", "auto"):
            if data.kind != "edge":
                raise InputError("reader 'gradient' reads edges, expected a segmenter's checkpoint for kind 'seg'")
            return edge_strength
        if self.model is None:
            return None
        model, names = self.model.to(device), list(data.class_names)
        if missing := [name for name in names if name not in model.classes]:
            raise InputError(
                f"reader {self.source}: a segmenter of {', '.join(model.classes)}, expected {missing[0]} among them as "
                "in the data; train conf/experiment/part_segmenter.yaml on the same classes"
            )
        rows = [model.classes.index(name) for name in names]
        chosen = rows[-1:] if data.kind == "edge" else rows
        return lambda images: model.probabilities(images)[:, chosen]

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        if trainer.sanity_checking or not isinstance(batch, LabelledViews):
            return
        model: Any = pl_module
        images, rendered = zip(*(self._sample(model, batch, number) for number in range(self._asked(trainer))))
        if self.reference == "held_out":
            self.scores.add_reference(batch.images, batch.keys)
        self.scores.add(batch.labels, batch.images, batch.keys, images, rendered)
        if trainer.is_global_zero:
            self._show(batch, images, rendered[0])

    def _asked(self, trainer: pl.Trainer) -> int:
        """Images a label map."""
        return self.samples if trainer.testing else self.val_samples

    def _sample(self, model: Synthesiser, batch: LabelledViews, number: int) -> tuple[Tensor, Tensor]:
        width = latent_width(model)
        drawn = [derive(self.seed, key, number, "latent").standard_normal(width) for key in batch.keys]
        z = torch.from_numpy(np.stack(drawn)).float().to(batch.labels.device)
        with torch.no_grad():
            return model.synthesise(batch.labels, z, batch.cameras)

    def _show(self, batch: LabelledViews, images: tuple[Tensor, ...], rendered: Tensor) -> None:
        """Keep the first maps' rows of the sheet."""
        edges = batch.labels.ndim == 4
        classes = None if edges else rendered.shape[1]
        wanted = (batch.labels[:, 0] if edges else batch.labels).cpu().numpy()
        found = (rendered[:, 0] if edges else rendered.argmax(1)).detach().cpu().numpy()
        shown = [pixels(batch.images), *(pixels(sample) for sample in images[:SHOWN])]
        for row in range(min(len(batch), self.rows - len(self.tiles))):
            pictures = [sample[row].permute(1, 2, 0).cpu().numpy() for sample in shown]
            self.tiles.append([label_picture(wanted[row], classes), *pictures, label_picture(found[row], classes)])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        stage = "test" if trainer.testing else "val"
        figures = self.scores.means()
        pl_module.log_dict({f"{stage}/{name}": value for name, value in figures.items()}, sync_dist=True, prog_bar=True)
        if trainer.is_global_zero:
            stated = self.evaluator
            written = {**figures, "counts": stated.pop("counts"), "evaluator": stated}
            tiles = [tile for row in self.tiles for tile in row]
            sheet = stacked(tiles, len(self.tiles[0]), 2) if tiles else None
            leave_sheet(trainer, stage, "conditional", sheet, written, self.folder)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
