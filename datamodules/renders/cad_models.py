"""The CAD models to render: folders of ShapeNet, Objaverse, OmniObject3D or any other, and a list with offsets.

A list is 3D-DST's CSV file: ``synset, model_id, distance, azimuth, elevation, strength, sampling``, a row a model,
with the camera's distance in longest sides of the model, offsets in degrees that align it, the strength of the control
and the viewpoint mode. Cells may be empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from datamodules.errors import InputError, closest
from datamodules.files.text_files import read_cells
from datamodules.files.typed_json import read_json
from datamodules.renders.synsets import SHAPENET
from datamodules.shapes.meshes import CAD_SUFFIXES

LIST_COLUMNS = ("synset", "model_id", "distance", "azimuth", "elevation", "strength", "sampling")
LAYOUTS = ("shapenet", "objaverse", "omniobject3d", "files")
SHAPENET_FILES = ("models/model_normalized.obj", "model.obj", "model_normalized.obj")  # versions 2 and 1
NAMED = re.compile(r"(?!\.)[\w.-]{1,200}")  # what may become a folder's name

Layout = Literal["shapenet", "objaverse", "omniobject3d", "files"]


class Alignment(msgspec.Struct, frozen=True):
    """What a row of the list says of its model.

    Attributes:
        distance: of the camera, longest sides of the model's box; None for the default.
        azimuth: degrees that the model is turned by in its file: rendered from theta + azimuth.
        elevation: degrees: rendered from phi - elevation.
        strength: of the control when the render becomes an image.
        sampling: viewpoint mode; None for the default.
    """

    distance: Annotated[float, Meta(ge=0.9, le=100)] | None = None
    azimuth: Annotated[float, Meta(ge=-360, le=360)] = 0.0
    elevation: Annotated[float, Meta(ge=-180, le=180)] = 0.0
    strength: Annotated[float, Meta(ge=0, le=2)] = 1.0
    sampling: Annotated[int, Meta(ge=1, le=5)] | None = None


@dataclass(frozen=True)
class CadModel:
    """One model to render.

    Attributes:
        synset: folder of its class ("02958343").
        model: unique in it.
        name: class name in words ("car").
        path: CAD file; None for a mesh of the studio.
        keywords: further names of the class.
        alignment: of the list.
    """

    synset: str
    model: str
    name: str
    path: Path | None
    keywords: tuple[str, ...] = ()
    alignment: Alignment = field(default_factory=Alignment)


class _Synset(msgspec.Struct, rename={"synset": "synsetId"}):
    """A row of ShapeNet's ``taxonomy.json``; what else it says is not read."""

    synset: str
    name: str


def find_models(root: str | Path, layout: Layout | None = None) -> list[CadModel]:
    """All models below a folder, in the order of their names.

    Args:
        root: of the collection.
        layout: its kind; None recognises it.

    Raises:
        InputError: no such folder, or no model in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one with CAD models, or `--studio` classes in place of it")
    chosen = layout or recognised(root)
    find = {"shapenet": _shapenet, "objaverse": _objaverse, "omniobject3d": _omniobject3d, "files": _files}[chosen]
    found = find(root)
    if not found:
        raise InputError(f"{root}: holds no model of the layout {chosen}; expected {', '.join(CAD_SUFFIXES)} files")
    seen: dict[tuple[str, str], CadModel] = {}
    for entry in found:
        if not NAMED.fullmatch(entry.model) or not NAMED.fullmatch(entry.synset):
            raise InputError(
                f"{entry.path}: expected letters, digits, '_', '-' and '.' in names, which '.' does not begin, "
                "and 200 of them at most; rename or remove it"
            )
        if (twin := seen.setdefault((entry.synset, entry.model), entry)) is not entry:
            raise InputError(f"{entry.path}: has the name of {twin.path}; rename one of them")
    return found


def recognised(root: str | Path) -> Layout:
    """The layout of a collection, by the files that are there."""
    root = Path(root)
    if (root / "glbs").is_dir():
        return "objaverse"
    if any(any(root.glob(f"*/*/{name}")) for name in SHAPENET_FILES):
        return "shapenet"
    return "omniobject3d" if any(root.glob("*/*/Scan/Scan.obj")) else "files"


def _shapenet(root: Path) -> list[CadModel]:
    names = synset_names(root)
    found = []
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir()):
        file = next((folder / name for name in SHAPENET_FILES if (folder / name).is_file()), None)
        if file is not None:
            words = names.get(folder.parent.name, (folder.parent.name,))
            found.append(CadModel(folder.parent.name, folder.name, words[0], file, words[1:]))
    return found


def _objaverse(root: Path) -> list[CadModel]:
    """Files by their identifier; classes are the list's, for Objaverse sorts by upload, not by class."""
    files = sorted((root / "glbs").rglob("*.glb"), key=lambda path: path.stem)
    return [CadModel("object", path.stem, "object", path) for path in files]


def _omniobject3d(root: Path) -> list[CadModel]:
    scans = sorted(root.glob("*/*/Scan/Scan.obj"))
    return [CadModel(path.parts[-4], path.parts[-3], path.parts[-4].replace("_", " ").lower(), path) for path in scans]


def _files(root: Path) -> list[CadModel]:
    """CAD files; the first folder below the root is the class, files directly in the root are of the root's."""
    found = []
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in CAD_SUFFIXES):
        parts = path.relative_to(root).parts
        synset = parts[0] if len(parts) > 1 else root.resolve().name
        found.append(CadModel(synset, path.stem, synset.replace("_", " ").lower(), path))
    return found


def synset_names(root: Path) -> dict[str, tuple[str, ...]]:
    """Names of each synset, the commonest first: ShapeNetCore's, and those of a ``taxonomy.json`` in the folder."""
    names = dict(SHAPENET)
    file = root / "taxonomy.json"
    if file.is_file():
        rows = read_json(file, list[_Synset], "ShapeNet's taxonomy, a list of objects with synsetId and name")
        names |= {row.synset: tuple(word.strip() for word in row.name.split(",") if word.strip()) for row in rows}
    return {synset: words for synset, words in names.items() if words}


def read_list(path: str | Path, found: Sequence[CadModel]) -> list[CadModel]:
    """The models that a CSV list names, with its offsets, in its order.

    A row whose model is found by its identifier alone (Objaverse) takes the row's synset as its class.

    Raises:
        InputError: columns are missing, a value is out of range, a row twice, or a row's model is not there.
    """
    rows = read_cells(path, "a CSV list of CAD models", LIST_COLUMNS[:2])
    header = list(rows[0][1]) if rows else []
    if unknown := [name for name in header if name not in LIST_COLUMNS]:
        near = closest(unknown[0], LIST_COLUMNS)
        raise InputError(f"{path}: unknown column {unknown[0]!r}; expected {', '.join(LIST_COLUMNS)}{near}")
    models = {(entry.synset, entry.model): entry for entry in found}
    loose = {entry.model: entry for entry in found if entry.synset == "object"}
    chosen: dict[tuple[str, str], CadModel] = {}
    for line, row in rows:
        synset, model = (row[name] for name in LIST_COLUMNS[:2])
        entry = models.get((synset, model)) or loose.get(model)
        if entry is None:
            near = closest(model, [name for folder, name in models if folder == synset])
            raise InputError(
                f"{path}: line {line}: no model {model!r} of synset {synset!r} in the collection{near}; "
                "remove the row or add the model"
            )
        if (synset, model) in chosen:
            raise InputError(f"{path}: line {line}: {synset}/{model} stands twice; remove one row")
        if not NAMED.fullmatch(synset):
            raise InputError(f"{path}: line {line}: synset {synset!r}, expected a folder's name")
        name = entry.name if entry.synset == synset else synset.replace("_", " ").lower()
        place = f"{path}: line {line}"
        chosen[synset, model] = replace(entry, synset=synset, name=name, alignment=_alignment(row, place))
    if not chosen:
        raise InputError(f"{path}: names no model; add rows, or leave the list out to take all")
    return list(chosen.values())


def _alignment(row: dict[str, str], place: str) -> Alignment:
    stated = {name: row.get(name, "") for name in LIST_COLUMNS[2:]}
    try:
        numbers = {name: float(text) for name, text in stated.items() if text}
        if "sampling" in numbers and numbers["sampling"].is_integer():
            numbers["sampling"] = int(numbers["sampling"])
        return msgspec.convert(numbers, Alignment)
    except (ValueError, msgspec.ValidationError) as error:
        raise InputError(f"{place}: {error}; correct the cell") from None
