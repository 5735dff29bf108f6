"""Objects that can be drawn at any box: the contract, banks on disk, voxel grids, posed views, meshes, crops."""

from datamodules.assets.bank import AssetBank

__all__ = ["AssetBank"]
