"""Pictures for the loggers: what a detector was shown, what it should find and what it found."""

from __future__ import annotations

from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch

from datamodules.geometry import Boxes3D
from datamodules.scene import REAL, Batch, Frame, Objects
from lit.callbacks.logged import log_picture, takes_pictures
from lit.pictures.pictures import draw_boxes, resized, stacked

GREEN, ORANGE, MAGENTA = (60, 210, 90), (255, 150, 20), (255, 40, 200)  # labelled, injected, predicted; RGB
GROUND, GRID, INK = (24, 26, 30), (58, 62, 70), (150, 156, 166)


def draw_frame(frame: Frame, predictions: Objects, width: int = 960, min_score: float = 0.2) -> np.ndarray:
    """A picture of one frame beside its bird's-eye view.

    Labelled boxes are green, injected ones orange, predicted ones magenta.

    Args:
        frame: image, camera and labels.
        predictions: objects with scores.
        width: pixels of the image part.
        min_score: predictions below are left out.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    image, camera = resized(frame, width)
    groups = _groups(frame.objects, predictions, min_score)
    for boxes, colour in groups:
        draw_boxes(image, camera, boxes, colour)
    view = draw_ground(groups, camera.height)
    return np.concatenate([image, view], 1)


def _groups(labels: Objects, predictions: Objects, min_score: float) -> list[tuple[Boxes3D, tuple[int, int, int]]]:
    known, injected = labels.names != "DontCare", labels.provenance != REAL
    score = predictions.score if predictions.score is not None else np.ones(len(predictions))
    return [
        (labels.boxes[known & ~injected], GREEN),
        (labels.boxes[known & injected], ORANGE),
        (predictions.boxes[score >= min_score], MAGENTA),
    ]


def draw_ground(
    groups: list[tuple[Boxes3D, tuple[int, int, int]]], size: int, reach: float = 60.0, scale: int = 2
) -> np.ndarray:
    """Bird's-eye view (size, size, 3): the camera at the bottom, a line every 10 m, ``reach`` metres ahead.

    A short stroke leaves each box at its front.
    """
    side = size * scale  # drawn larger and shrunk: outlines stay smooth
    pixels = side / reach
    image = np.full((side, side, 3), GROUND, np.uint8)

    def at(points: np.ndarray) -> np.ndarray:
        return np.stack([side / 2 + points[..., 0] * pixels, side - points[..., 1] * pixels], -1)

    for metres in range(10, int(reach), 10):
        row = round(side - metres * pixels)
        cv2.line(image, (0, row), (side, row), GRID, scale)
        if side >= 320:
            cv2.putText(image, f"{metres} m", (4 * scale, row - 2 * scale), 0, 0.35 * scale, INK, scale, cv2.LINE_AA)
    for boxes, colour in groups:
        corners = boxes.corners[:, :4][:, :, [0, 2]]
        front, middle = corners[:, :2].mean(1), boxes.center[:, [0, 2]]
        nose = front + 0.35 * (front - middle)
        for outline, start, end in zip(at(corners), at(front), at(nose)):
            lines = np.clip(np.round(np.concatenate([outline, [start, end]]) * 8), -(2**20), 2**20).astype(np.int32)
            cv2.polylines(image, [lines[:4]], True, colour, scale, cv2.LINE_AA, shift=3)
            cv2.line(image, tuple(lines[4]), tuple(lines[5]), colour, scale, cv2.LINE_AA, shift=3)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def frames_of(batch: Batch, count: int) -> list[Frame]:
    """The first frames of a batch, on the host."""
    images = batch.images[:count].cpu().numpy()
    return [
        Frame(image, camera, objects, sample_id)
        for image, camera, objects, sample_id in zip(images, batch.cameras, batch.objects, batch.sample_ids)
    ]


class Drawing(pl.Callback):
    """Draws frames for the loggers: ``train/boxes`` every so many steps, ``val/boxes`` at each evaluation.

    Labelled boxes are green, injected ones orange, predicted ones magenta; the bird's-eye view is on the right.

    Args:
        frames: frames a picture.
        every_steps: steps between two pictures of training frames; 0 draws none.
        width: pixels of each frame.
        min_score: predictions below are left out.
    """

    def __init__(self, frames: int = 4, every_steps: int = 500, width: int = 960, min_score: float = 0.2) -> None:
        self.frames, self.every_steps, self.width, self.min_score = frames, every_steps, width, min_score

    def _add(self, trainer: pl.Trainer, name: str, batch: Batch, predictions: list[Objects]) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking or not takes_pictures(trainer):
            return
        pairs = zip(frames_of(batch, self.frames), predictions)
        image = stacked([draw_frame(frame, found, self.width, self.min_score) for frame, found in pairs])
        log_picture(trainer, name, image)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if not self.every_steps or trainer.global_step % self.every_steps or not trainer.is_global_zero:
            return
        pl_module.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            predictions = pl_module.predict_step(batch, batch_idx)
        pl_module.train()
        self._add(trainer, "train/boxes", batch, predictions)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int, *_: int
    ) -> None:
        if batch_idx == 0:
            self._add(trainer, "val/boxes", batch, outputs)
