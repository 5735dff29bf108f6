"""One name, one thing: what other modules import by name is defined in one module only."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("datamodules", "detectors", "lit")
SHARED = {
    "SCHEMA": "each file format counts its own versions",
    "VERSION": "each evaluator counts its own",
    "BLOCK": "how much is computed at a time, in each place's own unit",
    "CHUNK": "the same",
    "main": "what a command runs",
    "evaluate_tables": "the KITTI and the nuScenes evaluator answer to the same names",
    "flatten": "the same",
    "evaluate_files": "the nuScenes and the Omni3D evaluator answer to the same names",
    "evaluate_boxes": "the same",
    "between": "a share of the way: along a ray, or from one object to another",
}


def defined_names(tree: ast.Module) -> set[str]:
    """Classes, functions and constants of a module, those with a leading underscore left out."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            stored = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
            names |= {part.id for part in stored if isinstance(part.ctx, ast.Store)}
    return {name for name in names if not name.startswith("_")}


def imported_names(tree: ast.Module) -> set[str]:
    """Names taken from the suite's own modules."""
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    ours = [node for node in froms if str(node.module).split(".")[0] in PACKAGES]
    return {alias.name for node in ours for alias in node.names}


def test_a_name_that_others_import_stands_for_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    wanted: set[str] = set()
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        tree = ast.parse(path.read_text())
        wanted |= imported_names(tree)
        for name in defined_names(tree):
            places[name].append(str(path.relative_to(ROOT)))
    twice = {name: found for name, found in places.items() if name in wanted and len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in SHARED} == {}
