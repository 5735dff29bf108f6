from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from datamodules.errors import InputError
from lit.rendering.field_mesh import FieldMesh, field_mesh, write_mesh
from tests.lit.posing.painted_block import COLOURS, HALF, MIDDLE, block_field


@pytest.fixture(scope="module")
def mesh() -> FieldMesh:
    return field_mesh(block_field(np.eye(3)), cells=48, level=50.0)


def test_the_mesh_is_the_block_with_its_colours(mesh: FieldMesh) -> None:
    np.testing.assert_allclose(mesh.vertices.min(0), MIDDLE - HALF, atol=0.02)
    np.testing.assert_allclose(mesh.vertices.max(0), MIDDLE + HALF, atol=0.02)
    assert mesh.labels.shape == (len(mesh.vertices), 2)
    place = (mesh.vertices - MIDDLE) / HALF
    front = (place[:, 0] > 0.9) & (np.abs(place[:, 1:]).max(1) < 0.8)
    assert front.sum() > 10
    assert (mesh.rgb[front] == (COLOURS[0] * 255).byte().numpy()).all()


@pytest.mark.parametrize("suffix", [".ply", ".glb"])
def test_files_open_with_their_colours(mesh: FieldMesh, suffix: str, tmp_path: Path) -> None:
    classes = np.full_like(mesh.rgb, (10, 200, 30))
    for name, colours in (("own", None), ("class", classes)):
        path = tmp_path / f"{name}{suffix}"
        write_mesh(path, mesh, colours)
        found: Any = trimesh.load(path, force="mesh", process=False)
        assert len(found.faces) == len(mesh.faces)
        assert found.is_watertight or suffix == ".glb"
        wanted = mesh.rgb if colours is None else colours
        seen = np.asarray(found.visual.vertex_colors)[:, :3]
        assert np.abs(seen.astype(int).mean(0) - wanted.astype(int).mean(0)).max() < 1


def test_wrong_input_is_one_line(mesh: FieldMesh, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reaches from 0 to"):
        field_mesh(block_field(np.eye(3)), cells=8, level=1e6)
    with pytest.raises(InputError, match="expected at least 2"):
        field_mesh(block_field(np.eye(3)), cells=1)
    with pytest.raises(InputError, match=r"ends in \.ply or \.glb"):
        write_mesh(tmp_path / "mesh.obj", mesh)
