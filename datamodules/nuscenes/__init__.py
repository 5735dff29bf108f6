"""nuScenes: its tables and detection files, and camera pictures of it as training data."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.nuscenes.datamodule import NuscenesDataModule

__all__ = ["NuscenesDataModule"]


def __getattr__(name: str) -> Any:
    if name == "NuscenesDataModule":  # on demand: who reads a file of the format need not load Lightning
        from datamodules.nuscenes.datamodule import NuscenesDataModule

        return NuscenesDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
