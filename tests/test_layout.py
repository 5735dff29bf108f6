"""The shape of the repository: who may import whom, what an import pulls in, how long files are."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from graphlib import TopologicalSorter
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
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FOUNDATIONS = {"", "arguments", "results", "provenance"}  # the root of lit: for all
NETWORKS = {"networks"}
ENGINES = NETWORKS | {"rendering", "weights", "features", "losses", "adversarial"}
SCORES = ENGINES | {"metrics", "proxies", "posing", "pictures"}
TRAINING = SCORES | {
    "generators",
    "recognition",
    "callbacks",
    "checkpoint_files",
    "detection",
    "cli",
    "config_errors",
    "trainer_cli",
}
MAY_IMPORT = {  # the way of the data through lit: package or module -> what it may import of lit
    "": set(),
    "arguments": set(),
    "results": set(),
    "provenance": set(),
    "networks": set(),
    "rendering": NETWORKS,
    "weights": NETWORKS | {"rendering"},
    "features": {"weights"},
    "losses": {"features", "weights"},
    "adversarial": NETWORKS | {"losses"},
    "pictures": set(),
    "metrics": {"features", "weights"},
    "proxies": NETWORKS | {"weights", "features", "losses"},
    "posing": ENGINES | {"metrics", "proxies", "pictures"},
    "editing": NETWORKS | {"rendering", "pictures"},
    "generators": SCORES,
    "recognition": SCORES,
    "callbacks": SCORES,
    "detection": {"weights"},
    "config_errors": set(),
    "checkpoint_files": set(),
    "launched": set(),
    "predict_pieces": {"callbacks"},
    "trainer_cli": {"callbacks", "checkpoint_files", "cli", "config_errors", "launched", "predict_pieces"},
    "cli": {"commands", "trainer_cli"},
    "experiments": TRAINING,
    "leaderboard": {"experiments"},
    "commands": TRAINING | {"experiments", "leaderboard", "editing"},
    "__main__": {"cli"},
}  # fmt: skip


def name_of(path: Path) -> str:
    """A file's module name; a package is its ``__init__``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(path: Path) -> set[str]:
    """Full names of what a file imports anywhere, also inside functions; of the suite's own, the modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for full in (f"{node.module}.{alias.name}" for alias in node.names):
                found.add(full if full in NAMES else node.module)
    return found


IMPORTS = {name_of(path): imported(path) for path in MODULES}


def imports(path: Path) -> set[str]:
    """Top-level packages a file imports anywhere."""
    return {name.split(".")[0] for name in IMPORTS[name_of(path)]}


def part(module: str) -> str:
    """The package, or the module at the root of a top-level package, that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_import_rule(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imports(path) & set(PACKAGES) <= ALLOWED[package]


def test_one_direction_inside_lit() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if name.startswith("lit.") and other.startswith("lit.") and part(name) != part(other)
        if part(other) not in MAY_IMPORT[part(name)] | FOUNDATIONS
    ]
    assert wrong == []


def test_no_two_modules_import_each_other() -> None:
    pairs = [(a, b) for a, others in IMPORTS.items() for b in others if a < b and a in IMPORTS.get(b, ())]
    assert pairs == []


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_have_an_order(package: str) -> None:
    graph: dict[str, set[str]] = {}
    for name, others in IMPORTS.items():
        if name.startswith(f"{package}.") and part(name) not in ("cli", "commands"):  # cli finds commands by name
            own = {part(other) for other in others if other.startswith(f"{package}.")}
            graph.setdefault(part(name), set()).update(own - {part(name)})
    list(TopologicalSorter(graph).static_order())  # raises CycleError with the cycle


def test_folders_are_small_and_say_what_they_hold() -> None:
    crowded = {}
    for folder in {path.parent for path in MODULES}:
        count = len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
        if count > 16:
            crowded[str(folder.relative_to(ROOT))] = count
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert docstring, folder
    assert crowded == {}


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


def test_the_readme_shows_the_tree() -> None:
    layout = (ROOT / "README.md").read_text().split("\n## Layout\n")[1].split("\n## ")[0]
    drawing, table = layout.split("\n| folder | holds |\n")
    listed = re.findall(r"^\| `([\w/]+)/` \|", table, re.MULTILINE)
    assert len(set(listed)) == len(listed)
    assert set(listed) == {str(path.parent.relative_to(ROOT)) for path in MODULES} | {"conf", "tests"}
    known = {path.name for path in MODULES}
    named = re.findall(r"[\w/]+\.py\b", drawing)
    assert len(named) > 15
    assert [name for name in named if not ((ROOT / name).is_file() if "/" in name else name in known)] == []


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
