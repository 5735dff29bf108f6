"""How training reads frames: broken samples replaced when the user allows it, decoded frames kept when memory does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import torch

from datamodules.assets.contract import FrameLabels
from datamodules.errors import InputError, listed
from datamodules.injection.learnt.labels import labels_by_frame
from datamodules.scene import Frame


class FrameReader(Protocol):
    """A data set that can decode frame ``index``."""

    @property
    def ids(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def read(self, index: int) -> Frame: ...


class TrainingReader:
    """A reader whose broken samples may be replaced by the next good one, and which may keep what it decoded.

    Cached frames are handed out again and again: nobody may write into their arrays (the scene contract).
    """

    def __init__(self, reader: FrameReader, on_error: Literal["raise", "skip"] = "raise", cache: bool = False) -> None:
        """Configure.

        Args:
            reader: decodes frames.
            on_error: what a broken sample does: stop the run, or be counted and replaced by its next good neighbour.
            cache: keep decoded frames in memory, in each worker its own.
        """
        self.reader, self.on_error = reader, on_error
        # Shared memory: what a worker finds broken is counted in the main process.
        self._broken = torch.zeros(len(reader), dtype=torch.bool).share_memory_()
        self._cache: dict[int, Frame] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def ids(self) -> Sequence[str]:
        """Ids of all frames, broken ones included."""
        return self.reader.ids

    @property
    def broken(self) -> list[str]:
        """Ids of the broken samples met so far, in any worker."""
        return [self.ids[int(i)] for i in self._broken.nonzero()[:, 0]]

    def read(self, index: int) -> Frame:
        """Decode frame ``index`` or, when it is broken and that is allowed, the next good one, round the end.

        Raises:
            InputError: a broken sample under ``on_error="raise"``, or every sample is broken.
        """
        for step in range(len(self)):
            number = (index + step) % len(self)
            if self._cache is not None and number in self._cache:
                return self._cache[number]
            try:
                frame = self.reader.read(number)
            except InputError as error:
                if self.on_error == "raise":
                    raise
                self._count(number, error)
                continue
            if self._cache is not None:
                self._cache[number] = frame
            return frame
        raise InputError(
            f"all {len(self)} training samples are broken, the first is {self.ids[0]}; expected at least one that can "
            "be read; see `python -m lit prepare kitti`"
        )

    def read_labels(self, around: bool = False) -> Iterator[FrameLabels]:
        """Labels of all frames (see ``LabelReader``); no picture is decoded for them."""
        return labels_by_frame(self.reader, around)

    def _count(self, number: int, error: InputError) -> None:
        if not self._broken.any():
            warnings.warn(f"broken training samples are replaced and counted (on_error: skip): {error}", stacklevel=3)
        self._broken[number] = True

    def report(self) -> None:
        """Warn once with the count of broken samples; say nothing when there are none."""
        if broken := self.broken:
            named = listed(broken, 5)
            warnings.warn(
                f"{len(broken)} of {len(self)} training samples are broken and were replaced by their next good "
                f"neighbour: {named}; `python -m lit prepare kitti` names what is wrong",
                stacklevel=2,
            )
