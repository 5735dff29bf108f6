"""Maps of nuScenes' map expansion: as the devkit draws them, with their holes, and refused in one line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from datamodules.errors import DatasetNotFound, InputError
from datamodules.nuscenes.maps.expansion import PIXEL, REACH, DrivableMap, scene_locations

SQUARES = {"whole": (0.0, 40.0), "hole": (10.0, 30.0), "beside": (20.0, 60.0)}  # low and high of x and y, metres


def expansion(areas: list[list[str]], holes: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """A map of squares: each area a list of polygons, each polygon with holes."""
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))
    nodes = [
        {"token": f"{name}{i}", "x": ends[a], "y": ends[b]}
        for name, ends in SQUARES.items()
        for i, (a, b) in enumerate(corners)
    ]
    ring = {name: [f"{name}{i}" for i in range(4)] for name in SQUARES}
    polygons = [
        {
            "token": name,
            "exterior_node_tokens": ring[name],
            "holes": [{"node_tokens": ring[inner]} for inner in (holes or {}).get(name, [])],
        }
        for name in SQUARES
    ]
    return {"node": nodes, "polygon": polygons, "drivable_area": [{"polygon_tokens": area} for area in areas]}


def area(folder: Path, content: dict[str, Any]) -> float:
    """Square metres of drivable ground."""
    path = folder / "somewhere.json"
    path.write_text(json.dumps(content))
    ground = DrivableMap.read(path).above(np.array([30.0, 30.0]))
    return float((ground > 0).sum() * PIXEL**2)


def test_holes_are_left_out_and_overlaps_count_once(tmp_path: Path) -> None:
    assert area(tmp_path, expansion([["whole"]])) == pytest.approx(1600, rel=0.02)
    assert area(tmp_path, expansion([["whole"]], {"whole": ["hole"]})) == pytest.approx(1200, rel=0.02)
    assert area(tmp_path, expansion([["whole", "beside"]])) == pytest.approx(2800, rel=0.02)
    assert area(tmp_path, expansion([["whole"], ["beside"], ["whole"]])) == pytest.approx(2800, rel=0.02)
    # a hole of one area may be another one's ground
    assert area(tmp_path, expansion([["whole"], ["hole"]], {"whole": ["hole"]})) == pytest.approx(1600, rel=0.02)
    assert area(tmp_path, expansion([])) == 0


def test_rows_are_y_and_columns_x(tmp_path: Path) -> None:
    path = tmp_path / "somewhere.json"
    path.write_text(json.dumps(expansion([["hole"]])))
    ground = DrivableMap.read(path).above(np.array([40.0, 20.0]), reach=20.0, cell=1.0)
    assert ground.shape == (41, 41)
    rows, columns = np.nonzero(ground)
    assert (rows.min(), rows.max()) == (10, 30)  # y from 10 to 30, seen from 0
    assert (columns.min(), columns.max()) == (0, 10)  # x from 20 to 30, seen from 20


def test_the_worlds_map_is_drawn_as_by_the_devkit(
    tiny_surround: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = ModuleType("descartes")  # for its figures, none of which is drawn here
    figures.PolygonPatch = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "descartes", figures)
    api: Any = pytest.importorskip("nuscenes.map_expansion.map_api", reason="the nuScenes devkit is not installed")
    source = min((tiny_surround / "maps" / "expansion").glob("*.json"))
    folder = tmp_path / "maps" / "expansion"
    folder.mkdir(parents=True)
    shutil.copy(source, folder / "boston-seaport.json")  # the devkit knows four names
    theirs = api.NuScenesMap(str(tmp_path), "boston-seaport")
    node = json.loads(source.read_text())["node"]
    middle = np.array([[one["x"], one["y"]] for one in node]).mean(0)
    size = round(2 * REACH / PIXEL)
    (drawn,) = theirs.get_map_mask((*middle, 2 * REACH, 2 * REACH), 0, ["drivable_area"], (size, size))
    ours = DrivableMap.read(source).above(middle)[:size, :size] > 0
    assert ours.mean() > 0.02
    assert (ours & (drawn > 0)).sum() / (ours | (drawn > 0)).sum() > 0.98


def test_scenes_have_locations(tiny_surround: Path) -> None:
    found = scene_locations(tiny_surround / "v1.0-world")
    assert found == {name: name for name in ("world-train-0000", "world-train-0001", "world-val-0000")}
    assert all((tiny_surround / "maps" / "expansion" / f"{place}.json").is_file() for place in found.values())


def test_bad_maps_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "somewhere.json"
    with pytest.raises(DatasetNotFound, match=r"somewhere.json does not exist.*found none there"):
        DrivableMap.read(path)
    content = expansion([["whole"], ["nowhere"]])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"no polygon or node 'nowhere'"):
        DrivableMap.read(path)
    content = expansion([["whole"]])
    content["node"] = content["node"][1:]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"no polygon or node 'whole0', which polygon 'whole'"):
        DrivableMap.read(path)
    content = expansion([["whole"]])
    content["node"][0]["x"] = "far"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"somewhere.json, \$.node\[0\].x"):
        DrivableMap.read(path)
    content = expansion([["whole"]])
    content["node"].append(content["node"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a token twice"):
        DrivableMap.read(path)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"somewhere.json.*node"):
        DrivableMap.read(path)


def test_a_scene_without_its_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('[{"token": "a", "location": "boston-seaport"}]')
    (tmp_path / "scene.json").write_text('[{"name": "scene-0001", "log_token": "b"}]')
    with pytest.raises(InputError, match=r"log 'b' of scene-0001 is not in log.json"):
        scene_locations(tmp_path)
    (tmp_path / "log.json").write_text('[{"token": "b", "location": "../boston"}]')
    with pytest.raises(InputError, match=r"log.json.*location"):
        scene_locations(tmp_path)
