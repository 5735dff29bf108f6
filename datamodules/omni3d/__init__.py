"""Omni3D's files (the data format of Cube R-CNN): written from other data sets, and frames of them as training data."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.omni3d.datamodule import Omni3DDataModule

__all__ = ["Omni3DDataModule"]


def __getattr__(name: str) -> Any:
    if name == "Omni3DDataModule":  # on demand: who reads a file of the format need not load Lightning
        from datamodules.omni3d.datamodule import Omni3DDataModule

        return Omni3DDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
