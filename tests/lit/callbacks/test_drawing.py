from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger

from datamodules.scene import Frame, Objects
from lit.callbacks.drawing import GREEN, MAGENTA, ORANGE, Drawing, draw_frame, draw_ground
from tests.detectors import scenes
from tests.lit.detection_training import data, module, trainer


def near(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(image.astype(int) - colour).max(2) < 60


def scene() -> tuple[Frame, Objects]:
    frame = scenes.frame(2, count=3)
    provenance = np.array(["real", "bank/7", "real"])
    frame = frame.with_(objects=replace(frame.objects, provenance=provenance))
    found = frame.objects[2:3]
    moved = replace(found.boxes, center=found.boxes.center + np.array([1.5, 0, 2.0]))
    return frame, replace(found, boxes=moved, score=np.array([0.8]))


def test_labels_injected_and_predicted_boxes_have_their_own_colours() -> None:
    frame, found = scene()
    picture = draw_frame(frame, found, width=960)
    height = round(960 * 96 / 320)
    assert picture.shape == (height, 960 + height, 3)
    for part in (picture[:, :960], picture[:, 960:]):
        for colour in (GREEN, ORANGE, MAGENTA):
            assert near(part, colour).sum() > 10
    hidden = draw_frame(frame, replace(found, score=np.array([0.1])), width=960)
    assert not near(hidden, MAGENTA).any()


def test_boxes_lie_over_their_objects() -> None:
    frame, found = scene()
    bare = draw_frame(frame.with_(objects=frame.objects[:0]), found[:0], width=320)[:, :320]
    drawn = draw_frame(frame.with_(objects=frame.objects[:1]), found[:0], width=320)[:, :320]
    rows, columns = np.nonzero((bare != drawn).any(2))
    left, top, right, bottom = frame.objects.bbox[0]
    assert abs(columns.min() - left) < 3
    assert abs(columns.max() - right) < 3
    assert abs(rows.min() - top) < 3
    assert abs(rows.max() - bottom) < 3


def test_ground_view_puts_right_at_right_and_far_at_top() -> None:
    boxes = replace(scenes.frame(0, count=1).objects.boxes, center=np.array([[10.0, 1.6, 45.0]]))
    view = draw_ground([(boxes, GREEN)], 240)
    rows, columns = np.nonzero(near(view, GREEN))
    assert abs(columns.mean() - (120 + 10 * 4)) < 6
    assert abs(rows.mean() - (240 - 45 * 4)) < 6


class Images:
    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[int, ...]]] = []

    def add_image(self, name: str, image: np.ndarray, step: int, dataformats: str) -> None:
        self.seen.append((name, image.shape))


def test_draws_training_and_validation_frames(tiny_world: Path, tmp_path: Path) -> None:
    images = Images()

    class Logger(TensorBoardLogger):
        @property
        def experiment(self) -> Images:
            return images

        def log_metrics(self, *_: object, **__: object) -> None:
            pass

        def log_hyperparams(self, *_: object, **__: object) -> None:
            pass

        def save(self) -> None:
            pass

        def finalize(self, status: str) -> None:
            pass

    lit = module()
    run = trainer(tmp_path, [Drawing(frames=2, every_steps=2, width=320)], logger=Logger(tmp_path), max_steps=3)
    run.fit(lit, data(tiny_world))
    assert [name for name, _ in images.seen].count("train/boxes") == 1
    assert "val/boxes" in [name for name, _ in images.seen]
    assert all(shape == (2 * 96 + 6, 320 + 96, 3) for _, shape in images.seen)
    assert isinstance(lit, pl.LightningModule)
    assert lit.training
