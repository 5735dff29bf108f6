"""What sources share that live on the objects of the labelled training frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from datamodules.assets.contract import AssetSource
from datamodules.assets.crops.crop_asset import CropAsset
from datamodules.assets.crops.worth_cutting import WorthCutting
from datamodules.errors import InputError

C = TypeVar("C", bound=CropAsset)


class LabelledObjectSource(AssetSource, Generic[C]):
    """Objects cut out of the labelled training frames, each also mirrored where that is wanted.

    The data module binds it to the frames it trains on, and to no others: the arm sees exactly the labels the detector
    has.

    Args:
        name: class to take.
        worth: which of its objects are worth it.
        flip: also offer every object mirrored.
        max_crops: objects to keep; with more, frames are taken evenly over the set.

    Attributes:
        crops: what it was bound to.
        offered: these, and the mirrored ones.
    """

    needs_labels = True

    def __init__(self, name: str, worth: WorthCutting, flip: bool, max_crops: int) -> None:
        self.name, self.worth, self.flip, self.max_crops = name, worth, flip, max_crops
        self.crops: list[C] = []
        self.offered: list[C] = []

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def pool(self) -> int:
        """The objects it was bound to (see ``AssetSource.pool``); a mirrored one is no other object."""
        return len(self.crops)

    def offer(self, crops: Sequence[C]) -> None:
        """Keep what was cut out."""
        self.crops = list(crops)
        self.offered = self.crops + [crop.flipped() for crop in crops] if self.flip else self.crops

    def require_bound(self) -> None:
        """Refuse to be asked for an object before there are any.

        Raises:
            InputError: the source was not bound to frames.
        """
        if not self.offered:
            raise InputError(f"{type(self).__name__}: expected to be bound to training frames first; call bind(frames)")
