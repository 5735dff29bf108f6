"""Collections are recognised, lists are joined, and models stand upright with their front ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from datamodules.errors import InputError
from datamodules.renders.cad_models import Alignment, CadModel, find_models, read_list, recognised
from datamodules.renders.model_meshes import is_watertight, load_model, studio_mesh, studio_models
from datamodules.shapes.primitives import box
from tests.datamodules.renders.cad_folders import marked_block, write_objaverse, write_shapenet

HEADER = "synset,model_id,distance,azimuth,elevation,strength,sampling\n"


def test_layouts_are_recognised(tmp_path: Path) -> None:
    write_shapenet(tmp_path / "shapenet", 2)
    write_objaverse(tmp_path / "objaverse")
    scan = tmp_path / "omni" / "toy_car" / "toy_car_001" / "Scan"
    scan.mkdir(parents=True)
    marked_block("z", "y").export(scan / "Scan.obj")
    (tmp_path / "files" / "sofa").mkdir(parents=True)
    marked_block("x", "z").export(tmp_path / "files" / "sofa" / "one.off")
    found = {name: find_models(tmp_path / name) for name in ("shapenet", "objaverse", "omni", "files")}
    assert [recognised(tmp_path / name) for name in found] == ["shapenet", "objaverse", "omniobject3d", "files"]
    assert [(m.synset, m.model, m.name) for m in found["shapenet"]] == [
        ("02958343", "car0", "car"),
        ("02958343", "car1", "car"),
    ]
    assert "sedan" in found["shapenet"][0].keywords
    assert [m.model for m in found["objaverse"]] == ["aaaa", "bbbb"]
    assert (found["omni"][0].name, found["omni"][0].model) == ("toy car", "toy_car_001")
    assert (found["files"][0].name, found["files"][0].model) == ("sofa", "one")


def test_a_list_gives_offsets_and_classes(tmp_path: Path) -> None:
    models = find_models(write_objaverse(tmp_path / "o"))
    rows = tmp_path / "list.csv"
    rows.write_text(HEADER + "taxi_cab,bbbb,2.5,90,-10,0.8,3\n")
    (found,) = read_list(rows, models)
    assert (found.synset, found.name, found.model) == ("taxi_cab", "taxi cab", "bbbb")
    assert found.alignment == Alignment(2.5, 90.0, -10.0, 0.8, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("model_id\naaaa\n", "no column synset"),
        ("synset,model_id,azimut\nx,aaaa,1\n", "did you mean 'azimuth'"),
        (HEADER + "object,aaab,,,,,\n", "line 2: no model 'aaab'.*did you mean 'aaaa'"),
        (HEADER + "object,aaaa,,,,,\nobject,aaaa,,,,,\n", "line 3: .*stands twice"),
        (HEADER + "object,aaaa,far,,,,\n", "line 2: could not convert"),
        (HEADER + "object,aaaa,0.1,,,,\n", "line 2: .*0.9"),
        (HEADER + "object,aaaa,,,,,9\n", "line 2: .*5"),
        ("synset,model_id,distance,azimuth\nobject,aaaa,2,5,90\n", "line 2: 5 cells, expected 4"),
        (HEADER + ".x,aaaa,,,,,\n", "line 2: synset '.x', expected a folder's name"),
        (HEADER, "names no model"),
    ],
)
def test_bad_lists_are_refused(content: str, said: str, tmp_path: Path) -> None:
    models = find_models(write_objaverse(tmp_path / "o"))
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(InputError, match=said):
        read_list(tmp_path / "list.csv", models)


@pytest.mark.parametrize(("forward", "up"), [("-z", "y"), ("z", "y"), ("x", "z"), ("-y", "z")])
def test_models_face_forward_whatever_the_files_axes(forward: str, up: str, tmp_path: Path) -> None:
    marked_block(forward, up, 10.0).export(tmp_path / "block.ply")
    model = CadModel("car", "block", "car", tmp_path / "block.ply")
    mesh = load_model(model, "files", "class", forward=forward, up=up)
    assert mesh.name == "Car"
    np.testing.assert_allclose(mesh.dims, np.array([4.0, 1.5, 2.0]) * 3.88 / 4, rtol=1e-4)
    red, blue = (mesh.mesh.colour[:, channel] > 0.4 for channel in (0, 2))
    assert mesh.mesh.triangles[red][..., 0].mean() > 0.5  # the front third lies ahead
    assert mesh.mesh.triangles[blue][..., 2].mean() > 0.5  # the left flank on the left
    assert mesh.mesh.bounds[1, 1] == pytest.approx(mesh.dims[1] / 2, rel=1e-4)


def test_an_azimuth_offset_turns_the_model_to_its_front(tmp_path: Path) -> None:
    """A file whose front is where its left should be is seen from theta + 90, so that theta counts from the front."""
    marked_block("y", "z").export(tmp_path / "block.ply")  # in the file, x is to the right of the front
    model = CadModel("car", "block", "car", tmp_path / "block.ply", alignment=Alignment(azimuth=90.0))
    mesh = load_model(model, "files", "file")
    np.testing.assert_allclose(mesh.dims, [4.0, 1.5, 2.0], rtol=1e-4)
    red, blue = (mesh.mesh.colour[:, channel] > 0.4 for channel in (0, 2))
    assert mesh.mesh.triangles[red][..., 0].mean() > 0.5
    assert mesh.mesh.triangles[blue][..., 2].mean() > 0.5


def test_bad_models_are_refused(tmp_path: Path) -> None:
    def model(name: str) -> CadModel:
        return CadModel("car", "x", "car", tmp_path / name)

    trimesh.PointCloud(np.eye(3)).export(tmp_path / "points.ply")
    with pytest.raises(InputError, match=r"points.ply: holds no triangles"):
        load_model(model("points.ply"))
    marked_block("x", "z", 1e4).export(tmp_path / "huge.ply")
    with pytest.raises(InputError, match=r"longest side would be 4e\+04 m.*--size class"):
        load_model(model("huge.ply"), size="file")
    marked_block("x", "z", 1e7).export(tmp_path / "absurd.ply")
    with pytest.raises(InputError, match=r"longest side is 4e\+07, expected 0.001 to 1e"):
        load_model(model("absurd.ply"))
    (tmp_path / "t.mtl").write_text("newmtl a\nmap_Kd paint.png\n")
    (tmp_path / "t.obj").write_text(
        "mtllib t.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\n"
    )
    with pytest.raises(InputError, match=r"texture .*paint.png is not there; restore it, or take grey"):
        load_model(model("t.obj"))
    assert load_model(model("t.obj"), textures="grey").dims.max() == pytest.approx(3.88)
    (tmp_path / "t.mtl").write_text("newmtl a\nmap_Kd -bm 1 paint.png\n")
    (tmp_path / "paint.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"texture .*-bm 1 paint.png is not there"):  # the reader would take grey
        load_model(model("t.obj"))
    (tmp_path / "hidden" / ".git").mkdir(parents=True)
    marked_block("x", "z").export(tmp_path / "hidden" / ".git" / "a.ply")
    with pytest.raises(InputError, match=r"a.ply: expected letters.*which '.' does not begin"):
        find_models(tmp_path / "hidden")
    with pytest.raises(InputError, match="no such folder"):
        find_models(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no model of the layout files"):
        find_models(tmp_path / "empty")
    with pytest.raises(InputError, match=r"studio class 'cars'.*did you mean 'car'"):
        studio_models(["cars"], 1)


def test_closed_meshes_are_told_from_open_ones() -> None:
    closed = box((1, 2, 3), (0, 0, 0), (0.5, 0.5, 0.5))
    assert is_watertight(closed)
    assert not is_watertight(closed[np.arange(11)])


def test_studio_objects_are_of_their_class() -> None:
    for model in studio_models(["car", "van", "bicycle", "bus"], 1):
        mesh = studio_mesh(model, 3)
        length = {"car": 4, "van": 5, "bicycle": 1.7, "bus": 11}[model.name]
        assert mesh.dims[0] == pytest.approx(length, rel=0.2)
