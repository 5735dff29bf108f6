"""Volume rendering of fields, and baking them to voxel grids."""
