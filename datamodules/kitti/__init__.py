"""KITTI's 3D object data set: its folder, its files, and frames of it as training data."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.kitti.datamodule import KittiDataModule

__all__ = ["KittiDataModule"]


def __getattr__(name: str) -> Any:
    if name == "KittiDataModule":  # on demand: who reads a file of the format need not load Lightning
        from datamodules.kitti.datamodule import KittiDataModule

        return KittiDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
