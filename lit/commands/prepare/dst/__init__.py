"""``python -m lit prepare dst-*``: 3D-DST's stages."""
