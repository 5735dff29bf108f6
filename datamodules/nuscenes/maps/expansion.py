"""Drivable ground of nuScenes' map expansion: polygons in the global frame, metres."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from msgspec import Meta, Struct

from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.typed_json import FILE_NAME, read_json
from datamodules.nuscenes.table_rows import Coordinate, Name

EXPANSION = "a map of nuScenes' map expansion, version 1.3 (maps/expansion/LOCATION.json)"
PIXEL = 0.1  # metres of ground seen from above, as nuScenes' own raster maps have it
REACH = 100.0  # metres around the car; what lies beyond is no pixel high

Token = Annotated[str, Meta(max_length=1000)]


class _Node(Struct, gc=False):
    token: Token
    x: Coordinate
    y: Coordinate


class _Hole(Struct, gc=False):
    node_tokens: list[Token] = []


class _Polygon(Struct, gc=False):
    token: Token
    exterior_node_tokens: list[Token]
    holes: list[_Hole] = []


class _Area(Struct, gc=False):
    polygon_tokens: list[Token]


class _Expansion(Struct):
    node: list[_Node]
    polygon: list[_Polygon]
    drivable_area: list[_Area]

    def __post_init__(self) -> None:
        for name, rows in (("node", self.node), ("polygon", self.polygon)):
            if len({row.token for row in rows}) < len(rows):
                raise ValueError(f"a token twice - at `$.{name}`")


class _Scene(Struct, gc=False):
    name: Name
    log_token: Name


class _Log(Struct, gc=False):
    token: Name
    location: Annotated[str, Meta(max_length=200, pattern=FILE_NAME)]


class DrivableMap:
    """Drivable ground of one location.

    Attributes:
        areas: per polygon its rings, (N, 2) global x and y, metres: the outer one, then its holes.
    """

    def __init__(self, areas: list[list[np.ndarray]]) -> None:
        self.areas = areas
        outer = [rings[0] for rings in areas]
        self._low = np.array([ring.min(0) for ring in outer]).reshape(-1, 2)
        self._high = np.array([ring.max(0) for ring in outer]).reshape(-1, 2)

    @classmethod
    def read(cls, path: Path) -> DrivableMap:
        """Read a location's file.

        Raises:
            DatasetNotFound: there is no such file.
            InputError: it is no map, or names a polygon or node that it lacks.
        """
        check_map(path)
        content = read_json(path, _Expansion, EXPANSION)
        nodes = {node.token: (node.x, node.y) for node in content.node}
        polygons = {polygon.token: polygon for polygon in content.polygon}

        def ring(tokens: list[str]) -> np.ndarray:
            return np.array([nodes[token] for token in tokens], np.float64).reshape(-1, 2)

        areas = []
        for token in (token for area in content.drivable_area for token in area.polygon_tokens):
            try:
                polygon = polygons[token]
                rings = [ring(polygon.exterior_node_tokens), *(ring(hole.node_tokens) for hole in polygon.holes)]
            except KeyError as error:
                raise InputError(
                    f"{path}: no polygon or node {error.args[0]!r}, which polygon {token!r} of drivable_area needs; "
                    "download the map expansion again"
                ) from None
            if len(rings[0]) >= 3:
                areas.append(rings)
        return cls(areas)

    def above(self, centre: np.ndarray, reach: float = REACH, cell: float = PIXEL) -> np.ndarray:
        """(N, N) uint8, 255 where ground is drivable, seen from above.

        Row r and column c are the ground at global x = centre[0] - reach + c * cell, y = centre[1] - reach + r * cell.

        Args:
            centre: (2,) global x and y of the middle, metres.
            reach: metres to each side.
            cell: metres a pixel.
        """
        size = round(2 * reach / cell) + 1
        picture = np.zeros((size, size), np.uint8)
        near = (self._low <= centre + reach).all(1) & (self._high >= centre - reach).all(1)
        for number in np.flatnonzero(near):
            # Each by itself: cv2 leaves out what two rings of one call both hold, which is right for holes only.
            rings = [np.rint((ring - centre + reach) / cell * 256).astype(np.int32) for ring in self.areas[number]]
            area = np.zeros_like(picture)
            cv2.fillPoly(area, rings, 255, shift=8)
            picture |= area
        return picture


def check_map(path: Path) -> None:
    """Refuse a location without a file.

    Raises:
        DatasetNotFound: there is no such file.
    """
    if not path.is_file():
        found = ", ".join(sorted(other.stem for other in path.parent.glob("*.json"))) or "none"
        raise DatasetNotFound(
            f"{path} does not exist; expected {EXPANSION}, found {found} there; download the map expansion"
        )


def scene_locations(folder: Path) -> dict[str, str]:
    """Location of each scene, by name, of a version's tables.

    Raises:
        DatasetNotFound: a table is missing.
        InputError: a table is ill-formed, or a scene's log is not there.
    """
    logs = {log.token: log.location for log in read_json(folder / "log.json", list[_Log], "nuScenes' table of logs")}
    found = {}
    for scene in read_json(folder / "scene.json", list[_Scene], "nuScenes' table of scenes"):
        if scene.log_token not in logs:
            raise InputError(
                f"{folder / 'scene.json'}: log {scene.log_token!r} of {scene.name} is not in log.json; copy both again"
            )
        found[scene.name] = logs[scene.log_token]
    return found
