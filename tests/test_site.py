"""The documentation site's own parts: its pages are there, and what they name can be filled in."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "scripts/site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_of_the_menu_is_there() -> None:
    named = re.findall(r"([\w/]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / "docs" / name).is_file()] == ["reference/index.md"]  # is generated


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_filled_in_and_their_links_lead_somewhere(path: Path, hooks: ModuleType) -> None:
    place = str(path.relative_to(ROOT / "docs"))
    text = hooks.without_folders(hooks.filled_in(path.read_text(), place))
    assert "{{" not in text
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (path.parent / link).exists() or link == "reference/index.md", link


def test_cards_hold_the_published_figures(hooks: ModuleType) -> None:
    card = hooks.card("world_augmentation", "lift3d", "../")
    assert "| test_world test | 50 | 8 | 8.80 ± 0.83 | +3.63 [+2.52, +4.74] | +2.16 [+0.90, +3.42] |" in card
    with pytest.raises(ValueError, match="no arm 'lift4d'"):
        hooks.card("world_augmentation", "lift4d", "")
    with pytest.raises(ValueError, match="0 sections 'Nothing'"):
        hooks.filled_in("{{ readme Nothing }}", "index.md")
    with pytest.raises(ValueError, match="nothing that"):
        hooks.filled_in("{{ picture x }}", "index.md")


def test_every_package_has_its_page(hooks: ModuleType) -> None:
    found = [str(path.relative_to(ROOT)) for path in hooks.packages()]
    assert {"datamodules/injection", "detectors", "lit/generators", "lit/networks/fields"} <= set(found)


@pytest.mark.parametrize("name", ["inject", "leaderboard"])
def test_notebooks_are_stored_without_outputs(name: str) -> None:
    cells = json.loads((ROOT / f"docs/notebooks/{name}.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 3
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    for cell in code:
        compile("".join(cell["source"]), name, "exec")
