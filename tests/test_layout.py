"""The shape of the repository: who may import whom, what an import pulls in, how long files are."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("datamodules", "detectors", "lit")
ALLOWED = {"datamodules": {"datamodules"}, "detectors": {"datamodules", "detectors"}, "lit": set(PACKAGES)}
TOP_LEVEL = {
    "pyproject.toml", "README.md", "Makefile", "CHANGELOG.md", "LICENSE", "constraints.txt", "requirements",
    "datamodules", "detectors", "lit", "conf", "tests",
}  # fmt: skip
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Top-level packages a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_import_rule(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imports(path) & set(PACKAGES) <= ALLOWED[package]


def test_only_the_fcos3d_corner_imports_openmmlab() -> None:
    corner = {"detectors/fcos3d.py", "detectors/mmcv_ops.py"}
    users = {str(p.relative_to(ROOT)) for p in MODULES if imports(p) & {"mmdet3d", "mmdet", "mmengine", "mmcv"}}
    assert users <= corner


def test_import_lit_needs_no_optional_package() -> None:
    blocked = ("mmdet3d", "mmcv", "nuscenes", "diffusers")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "import lit.trainer_cli, lit.detection, lit.leaderboard.files\n"
        "import lit.commands.sweep, lit.commands.show, lit.commands.demo, lit.commands.leaderboard\n"
        f"print([name for name in {blocked!r} if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")


def test_top_level() -> None:
    assert {path.name for path in ROOT.iterdir()} >= TOP_LEVEL


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert max(lengths.values()) <= 450, max(lengths, key=lambda path: lengths[path])
    assert statistics.median(length for length in lengths.values() if length > 1) < 150


def test_functions_are_short() -> None:
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.FunctionDef)
                and node.end_lineno is not None
                and node.end_lineno - node.lineno >= 80
            ):
                long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert long == []


def test_names_of_files() -> None:
    assert not [path for path in MODULES if path.stem in ("utils", "helpers", "common")]
