"""Scores and sheets of generators of fields from several sides: of photographs, or of nothing but noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.objects.labelled_views import LabelledViews
from datamodules.objects.photos.photo import PhotoBatch, PhotoViews
from datamodules.randomness import derive
from lit.callbacks.sheet import leave_sheet
from lit.metrics.alignment import composite
from lit.metrics.maps.single_view import YAW_RANGES, SingleViewFigures
from lit.metrics.maps.views import premultiplied
from lit.pictures.yaw_curves import yaw_plot
from lit.rendering.rendered_views import RenderedViews

GREY = 0.5
SHOWN = (-50.0, -25.0, 0.0, 25.0, 50.0)  # degrees of yaw on the sheet


class YawScores(pl.Callback):
    """Collects figures of views from stated yaws; see :class:`lit.metrics.maps.single_view.SingleViewFigures`.

    ``yaw_STAGE.png`` plots FID, Inception score and NFS against the yaw, ``yaw_STAGE.json`` is their table, as
    ``evaluate yaw`` compares them; ``SHEET_STAGE.png`` and ``.json`` hold pictures and all figures.

    Args:
        ranges: degrees; a view from a yaw drawn uniformly within each is scored.
        extractor: features of FID, such as "random:0" or "inception"; None leaves it out.
        weights: file of the extractor's weights.
        sheet_photos: objects on the sheet.
        folder: where sheet and figures are written; None for the run's folder.
        splits: of the Inception score, which needs as many objects.
        backdrop: grey in [0, 1] behind objects that are cut out.
    """

    sheet = "single_view"

    def __init__(
        self,
        ranges: Sequence[float] = YAW_RANGES,
        extractor: str | None = None,
        weights: str | None = None,
        sheet_photos: int = 6,
        folder: str | None = None,
        splits: int = 10,
        backdrop: float = GREY,
    ) -> None:
        self.figures = SingleViewFigures(ranges, extractor, weights, splits, backdrop)
        self.sheet_photos, self.folder, self.backdrop = sheet_photos, folder, backdrop
        self.rows: list[np.ndarray] = []

    @property
    def evaluator(self) -> dict[str, Any]:
        """Names and versions of what scores; the run's record asks for it."""
        return self.figures.evaluator

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.figures.reset(pl_module.device)
        self.rows = []

    def yaws(self, name: str) -> list[float]:
        """An object's yaw within each range, degrees; the same whatever else is scored."""
        return [
            float(derive(0, name, f"yaw {degrees:g}").uniform(-degrees, degrees)) for degrees in self.figures.ranges
        ]

    def draw(self, pictures: Sequence[Tensor], places: Sequence[Tensor], opacity: Sequence[Tensor | float]) -> None:
        """Add an object to the sheet: pictures (S, S, 3), and below them how near they are.

        Args:
            pictures: of V sides.
            places: (S, S) depth in the cube, -1 to 1.
            opacity: (S, S) of each, or 1.
        """
        near = torch.cat([(1 - (place.clamp(-1, 1) + 2 * (1 - seen))) / 2 for place, seen in zip(places, opacity)], 1)
        grey = near.clamp(0, 1).unsqueeze(-1).expand(-1, -1, 3)  # bright is near
        self.rows.append(
            (torch.cat([torch.cat(list(pictures), 1).clamp(0, 1), grey], 0) * 255).round().byte().cpu().numpy()
        )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stage = "test" if trainer.testing else "val"
        means = self.figures.means()
        pl_module.log_dict({f"{stage}/{name}": value for name, value in means.items()}, sync_dist=True)
        if trainer.is_global_zero and not trainer.sanity_checking and self.rows:
            figures = {**means, "evaluator": self.evaluator}
            leave_sheet(trainer, stage, self.sheet, np.concatenate(self.rows), figures, self.folder)
            table = self.figures.by_yaw(means)
            plot = yaw_plot({type(pl_module).__name__: table}) if len(self.figures.ranges) > 1 else None
            leave_sheet(trainer, stage, "yaw", plot, {**table, "evaluator": self.evaluator}, self.folder)

    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end


class SingleViewScores(YawScores):
    """Logs depth accuracy, NFS, PSNR and FID of fields that came from one photograph.

    Works with every generator that has ``turned(batch, yaw)``, radians from the photograph's own view, and whose
    ``validation_step`` returns :class:`RenderedViews`: of the true views where a batch is
    :class:`datamodules.objects.photos.photo.PhotoViews`, else of the photograph's own. ``single_view_STAGE.png`` shows
    each photograph, its depth, and colour and depth from five sides.
    """

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        photo = batch.photo if isinstance(batch, PhotoViews) else batch
        if not isinstance(photo, PhotoBatch) or not isinstance(outputs, RenderedViews):
            return
        generator: Any = pl_module
        name, target = photo.ids[0], self._photograph(photo)
        views = generator.turned(photo, np.deg2rad([0.0, *self.yaws(name)]).tolist())
        assert views.depth is not None
        shown = self._shown(photo, views)
        self.figures.add_own(name, shown[0], target, views.depth[0], photo.depth[0])
        centre = float(photo.projection[0, 2, 3])
        for degrees, picture, depth, opacity in zip(
            self.figures.ranges, shown[1:], views.depth[1:], views.rgba[1:, ..., 3]
        ):
            self.figures.add_turned(name, degrees, picture, target, depth - centre, opacity)
        if isinstance(batch, PhotoViews) and outputs.depth is not None:
            found, truth = (composite(rgba, self.backdrop) for rgba in (outputs.rgba, premultiplied(batch.rgba)))
            known = torch.where(batch.rgba[..., 3] > 127, batch.depth, torch.full_like(batch.depth, float("nan")))
            for view, turn in enumerate(batch.turn.tolist()):
                sides = found[view], truth[view], outputs.depth[view], known[view]
                self.figures.add_truth(f"{name}/{view}", turn, *sides)
        if len(self.rows) < self.sheet_photos:
            views = generator.turned(photo, np.deg2rad(SHOWN).tolist())
            own, opacity = torch.nan_to_num(photo.depth[0] - centre, nan=1.0), views.rgba[..., 3]
            self.draw([target, *self._shown(photo, views)], [own, *(views.depth - centre)], [1.0, *opacity])

    on_test_batch_end = on_validation_batch_end

    def _shown(self, photo: PhotoBatch, views: RenderedViews) -> Tensor:
        """(V, S, S, 3) of views of a photograph."""
        return composite(views.rgba, self.backdrop) if photo.masked else views.rgba[..., :3]

    def _photograph(self, photo: PhotoBatch) -> Tensor:
        """(S, S, 3) what a photograph shows, on the backdrop where it has a mask."""
        alpha = photo.alpha[0].unsqueeze(-1)
        return photo.images[0].permute(1, 2, 0).float() / 255 * alpha + self.backdrop * (1 - alpha)


@runtime_checkable
class TurnedSampler(Protocol):
    """What :class:`SampleViewScores` asks of a generator."""

    def turned(self, batch: LabelledViews, yaw: Sequence[float]) -> RenderedViews:
        """Samples for a batch's B keys, each as its camera sees it after a turn about the upright axis.

        Args:
            batch: keys and cameras, and what conditions the generator if anything does.
            yaw: B angles, radians.

        Returns:
            (B, S, S, 4) on nothing, and the place along the view, -1 to 1 over the cube around the object.
        """
        ...


class SampleViewScores(YawScores):
    """Logs NFS, and FID against the held-out pictures, of samples that a generator of labelled views draws of noise:
    the rows of others in G3DR's tables, such as EG3D's.

    Works with every :class:`TurnedSampler` on pictures with cameras (:class:`LabelledViews`), which are on white: that
    is the backdrop here. ``samples_STAGE.png`` shows colour and depth of samples from five sides.

    Args:
        backdrop: that of the pictures with cameras.
        options: see :class:`YawScores`.
    """

    sheet = "samples"

    def __init__(self, backdrop: float = 1.0, **options: Any) -> None:
        super().__init__(backdrop=backdrop, **options)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Say before a training begins what could not be scored after it.

        Raises:
            InputError: the module is no :class:`TurnedSampler`.
        """
        if not isinstance(pl_module, TurnedSampler):
            raise InputError(
                f"SampleViewScores: {type(pl_module).__name__} has no turned(batch, yaw); leave the callback out"
            )

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        if not isinstance(batch, LabelledViews):
            return
        generator: Any = pl_module
        targets = ((batch.images + 1) / 2).permute(0, 2, 3, 1)
        for degrees, yaw in zip(self.figures.ranges, np.array([self.yaws(key) for key in batch.keys]).T):
            views = generator.turned(batch, np.deg2rad(yaw).tolist())
            shown = composite(views.rgba, self.backdrop)
            for row, key in enumerate(batch.keys):
                parts = shown[row], targets[row], views.depth[row], views.rgba[row, ..., 3]
                self.figures.add_turned(key, degrees, *parts)
        left = self.sheet_photos - len(self.rows)
        if left > 0:
            sides = [generator.turned(batch, [angle] * len(batch)) for angle in np.deg2rad(SHOWN).tolist()]
            for row in range(min(left, len(batch))):
                pictures = [composite(side.rgba[row], self.backdrop) for side in sides]
                opacity = [side.rgba[row, ..., 3] for side in sides]
                self.draw(pictures, [side.depth[row] for side in sides], opacity)

    on_test_batch_end = on_validation_batch_end
