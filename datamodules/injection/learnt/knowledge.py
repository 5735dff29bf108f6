"""What placement knows of the frames a detector trains on: their labelled boxes, learnt from when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from datamodules.assets.contract import LabelledFrames
from datamodules.injection.learnt.density import LabelDensity
from datamodules.injection.learnt.free_space import FreeSpace
from datamodules.injection.learnt.labels import TrainingLabels


class TrainingKnowledge:
    """Labels of a training set, the ground they say is open, and their density by class.

    Nothing is read before it is needed: where every frame has a road mask, nothing ever is.
    """

    def __init__(self, frames: LabelledFrames, spelling: Mapping[str, str], around: bool) -> None:
        """Bind.

        Args:
            frames: of the training.
            spelling: class names of the injected objects to those of the labels.
            around: objects are placed around a car, not before one camera.
        """
        self._frames, self._spelling, self.around = frames, dict(spelling), around
        self._densities: dict[tuple[str, tuple[float, float]], LabelDensity] = {}

    @cached_property
    def labels(self) -> TrainingLabels:
        """All labelled boxes."""
        return TrainingLabels.read(self._frames, self.around)

    @cached_property
    def space(self) -> FreeSpace | None:
        """Ground that is open where no road mask tells; None where no vehicle is labelled."""
        return FreeSpace.learn(self.labels, self.around)

    def density(self, name: str, reach: tuple[float, float], bandwidth: tuple[float, float, float]) -> LabelDensity:
        """The density of a class within some depths.

        Raises:
            InputError: no box of the class is labelled there.
        """
        if (name, reach) not in self._densities:
            self._densities[name, reach] = LabelDensity.learn(
                self.labels, self._spelling.get(name, name), reach, bandwidth, self.around
            )
        return self._densities[name, reach]
