"""Baked voxel grids as assets: one file a renderer."""
