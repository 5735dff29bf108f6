"""Small CAD collections: a grey block with a red front and a blue left side, as files of each layout's axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import trimesh

RED, BLUE, GREY = (220, 30, 30, 255), (30, 30, 220, 255), (128, 128, 128, 255)


def marked_block(forward: str, up: str, size: float = 1.0) -> trimesh.Trimesh:
    """A block 4 long, 1.5 high, 2 wide (times ``size``), its front third red and its left flank blue."""

    def axis(name: str) -> np.ndarray:
        return np.eye(3)["xyz".index(name[-1])] * (-1 if name[0] == "-" else 1)

    ahead, above = axis(forward), axis(up)
    turn = np.eye(4)
    turn[:3, :3] = np.stack([ahead, -above, np.cross(ahead, -above)], 1)  # our axes in those of the file
    parts = []
    for extents, centre, colour in (
        ((2.6, 1.5, 1.9), (-0.7, 0, -0.05), GREY),
        ((1.4, 1.5, 2.0), (1.3, 0, 0), RED),
        ((2.6, 1.5, 0.1), (-0.7, 0, 0.95), BLUE),
    ):
        part = trimesh.creation.box(extents)
        part.apply_translation(centre)
        part.visual = trimesh.visual.ColorVisuals(
            part, face_colors=np.tile(np.array(colour, np.uint8), (len(part.faces), 1))
        )
        parts.append(part)
    block: Any = trimesh.util.concatenate(parts)
    block.apply_transform(turn)
    block.apply_scale(size)
    return block


def write_shapenet(root: Path, models: int = 1) -> Path:
    """ShapeNetCore v2: cars in unit size, front -z, up y; a .glb cannot be, so colours are lost with .obj's ones."""
    for index in range(models):
        folder = root / "02958343" / f"car{index}" / "models"
        folder.mkdir(parents=True)
        marked_block("-z", "y", 0.2).export(folder / "model_normalized.obj")
    return root


def write_objaverse(root: Path, names: tuple[str, ...] = ("aaaa", "bbbb")) -> Path:
    """Objaverse: glbs/000-000/UID.glb, front z, up y."""
    folder = root / "glbs" / "000-000"
    folder.mkdir(parents=True)
    for name in names:
        marked_block("z", "y").export(folder / f"{name}.glb")
    return root
