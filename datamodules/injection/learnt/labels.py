"""All labelled boxes of a training set, read without its pictures where the data set can.

What placement learns from them belongs to the frames a detector trains on, and to no others: it sees exactly the
labels the detector has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datamodules.assets.contract import FrameLabels, LabelledFrames, LabelReader
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D


@dataclass(frozen=True)
class TrainingLabels:
    """N labelled boxes of F frames, each in the frame of its own picture (around a car: of its own moment).

    Attributes:
        boxes: those that have a size.
        names: (N,) str class names, as the labels spell them.
        frame: (N,) int64 number of the frame each belongs to.
        frames: F.
    """

    boxes: Boxes3D
    names: np.ndarray
    frame: np.ndarray
    frames: int

    @staticmethod
    def read(frames: LabelledFrames, around: bool = False) -> TrainingLabels:
        """Read them all; frames whose labels are broken are left to the training's own reader.

        Args:
            frames: of the training.
            around: boxes around the car, a frame a moment, instead of those of each picture.
        """
        read = list(labels_by_frame(frames, around))
        boxes = Boxes3D.concatenate([boxes for boxes, _ in read])
        names = np.concatenate([np.zeros(0, dtype=str), *(names for _, names in read)])
        frame = np.repeat(np.arange(len(read)), [len(boxes) for boxes, _ in read])
        kept = np.flatnonzero((boxes.dims > 0).all(1) & np.isfinite(boxes.center).all(1))
        return TrainingLabels(boxes[kept], names[kept], frame[kept], len(read))


def labels_by_frame(frames: LabelledFrames, around: bool = False) -> Iterator[FrameLabels]:
    """Labels of every frame that can be read (see :class:`datamodules.assets.contract.LabelReader`)."""
    if isinstance(frames, LabelReader):
        yield from frames.read_labels(around)
        return
    for index in range(len(frames)):
        try:
            frame = frames.read(index)
        except InputError:
            continue
        if not around:
            yield frame.objects.boxes, frame.objects.names
        elif frame.surround is not None:
            yield frame.surround.moment.boxes, frame.surround.moment.names
