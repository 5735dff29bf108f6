"""What `make docs` adds to the pages: sections of the README, measured cards from docs/results, the reference.

Everything that is said in one place only stays there: a page names it, and it is filled in when the site is built::

    {{ readme Metrics }}                    the section of that name, with links that fit the page
    {{ card world_augmentation lift3d }}    an arm's row of a comparison
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("datamodules", "detectors", "lit")
CALL = re.compile(r"^\{\{ (\w+) (.+?) \}\}$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")
HEADLINE = "car/3d/moderate/0.5"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what a page names."""
    if page.file.src_uri == "results/README.md":
        markdown = without_folders(markdown)
    return filled_in(markdown, page.file.src_uri)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each package's docstrings, and their index."""
    from mkdocs.structure.files import File

    rows = []
    for folder in packages():
        name = ".".join(folder.relative_to(ROOT).parts)
        first = (ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "").split("\n\n")[0]
        modules = [path for path in sorted(folder.glob("*.py")) if path.stem not in ("__init__", "__main__")]
        lines = [f"# {name}", "", first, ""]
        lines += [f"::: {name}.{path.stem}\n" for path in modules]
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(lines)))
        rows.append(f"| [{name}]({name}.md) | {' '.join(first.split())} | {len(modules)} |")
    head = "# Reference\n\nDocstrings of every module, a page a package.\n\n"
    head += "| package | | modules |\n| --- | --- | ---: |\n"
    files.append(File.generated(config, "reference/index.md", content=head + "\n".join(rows) + "\n"))
    return files


def filled_in(markdown: str, place: str) -> str:
    """A page with what it names.

    Args:
        markdown: of the page.
        place: of the page in docs.

    Raises:
        ValueError: it names what is not there.
    """
    up = "../" * place.count("/")

    def fill(found: re.Match[str]) -> str:
        if found[1] == "readme":
            return section(found[2], up)
        if found[1] == "card":
            comparison, arm = found[2].split()
            return card(comparison, arm, up)
        raise ValueError(f"{place}: {found[0]} is nothing that scripts/site_hooks.py knows")

    return CALL.sub(fill, markdown)


def packages() -> list[Path]:
    """Folders with modules, in the order of their names."""
    return sorted(path.parent for package in PACKAGES for path in (ROOT / package).rglob("__init__.py"))


def section(title: str, up: str) -> str:
    """A section of the README without its heading.

    Raises:
        ValueError: there is none of that title.
    """
    parts = (ROOT / "README.md").read_text().split(f"\n## {title}\n")
    if len(parts) != 2:
        raise ValueError(f"README.md has {len(parts) - 1} sections '{title}', expected one")
    text = parts[1].split("\n## ")[0]
    return without_folders(LINK.sub(lambda found: f"]({up}{found[1].removeprefix('docs/')})", text))


def without_folders(markdown: str) -> str:
    """Links to folders and archives as plain text: a site has pages."""
    return re.sub(r"\[([^\]]+)\]\(((?!https?:)[^)]*?(?:\.zip|/[\w-]+))\)", r"\1", markdown)


def card(comparison: str, arm: str, up: str) -> str:
    """An arm's rows of a comparison as a table.

    Raises:
        ValueError: it has none.
    """
    board = json.loads((ROOT / "docs/results" / comparison / "leaderboard.json").read_text())
    rows = [row for row in board["rows"] if row["arm"] == arm and HEADLINE in row["metrics"]]
    if not rows:
        raise ValueError(f"docs/results/{comparison} has no arm '{arm}'")
    lines = [f"| data | frames | seeds | {HEADLINE} | minus none | minus copy_paste |", "| --- |" + " ---: |" * 5]
    for row in rows:
        metric = row["metrics"][HEADLINE]
        against = [difference(metric["vs"].get(rival)) for rival in ("none", "copy_paste")]
        figure = f"{metric['mean']:.2f} ± {metric['std']:.2f}"
        where = f"{row['dataset']} {row['split']}"
        lines.append(f"| {where} | {row['frames']} | {len(row['seeds'])} | {figure} | {' | '.join(against)} |")
    return "\n".join([*lines, "", f"From [{comparison}]({up}results/{comparison}/leaderboard.md)."])


def difference(found: dict[str, Any] | None) -> str:
    """A paired difference with its interval."""
    return f"{found['delta']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]" if found else "–"
