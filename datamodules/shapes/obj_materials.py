"""What an .obj says of its surfaces in the material files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


def material_files(path: Path) -> list[Path]:
    """Material files that an .obj names, whether they are there or not; none of another kind of file."""
    if path.suffix.lower() != ".obj":
        return []
    names = re.findall(r"^mtllib[ \t]+(.+?)\s*$", path.read_text(errors="replace"), re.MULTILINE)
    return [path.parent / name for name in names]


def _pictures(path: Path) -> Iterator[tuple[str, Path]]:
    """Names of materials, each with the picture that colours it.

    Options before a picture's name ("-s 2 2 1 paint.png") count as part of it, and it is looked for beside the .obj: so
    trimesh has it, which reads the meshes.
    """
    for file in material_files(path):
        text = file.read_text(errors="replace") if file.is_file() else ""
        for entry in re.split(r"^\s*newmtl\s+", text, flags=re.MULTILINE)[1:]:
            for picture in re.findall(r"^\s*map_Kd[ \t]+(.+?)\s*$", entry, re.MULTILINE | re.IGNORECASE):
                yield " ".join(entry.partition("\n")[0].split()), path.parent / picture


def pictured_materials(path: Path) -> set[str]:
    """Names of an .obj's materials whose colour is a picture, be it there or not."""
    return {name for name, _ in _pictures(path)}


def surface_files(path: Path) -> list[Path]:
    """Material files and pictures that an .obj names, whether they are there or not."""
    return [*material_files(path), *(picture for _, picture in _pictures(path))]


def missing_textures(path: Path) -> list[Path]:
    """Pictures and material files that an .obj names and that are not there."""
    return [file for file in surface_files(path) if not file.is_file()]
