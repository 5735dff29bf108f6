"""What the consistency filter said of generated images: ``kcf_<name>.json`` in the folder of renders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.typed_json import Finite, Text, read_json
from datamodules.renders.generated import Generated, digest_of_images

FILTER_KIND = "figures of the consistency filter (`python -m lit prepare dst-filter` writes them)"
FILTERED = "images"  # of the settings: digest of the images that were looked at


class FilterRow(msgspec.Struct):
    """One image.

    Attributes:
        key: synset/model/NNN_VV.
        loss: held-out loss.
        error: degrees between annotated pose and the one that the held-out estimator finds.
        kept: whether the filter keeps it.
    """

    key: Text
    loss: Finite
    error: Annotated[float, Meta(ge=0, le=180.001)]
    kept: bool


class FilterFile(msgspec.Struct):
    """The whole file."""

    schema: Annotated[int, Meta(ge=1, le=1)]
    settings: dict[str, str | int | float | None]
    figures: dict[str, float | None]
    rows: Annotated[list[FilterRow], Meta(min_length=1)]


def filter_path(root: str | Path, name: str) -> Path:
    """Where the figures of one generation lie."""
    return Path(root) / f"kcf_{name}.json"


def write_filter(root: str | Path, name: str, found: FilterFile) -> Path:
    """Write them; the path."""
    path = filter_path(root, name)
    write_atomically(path, json.dumps(msgspec.to_builtins(found), indent=1) + "\n")
    return path


def kept_images(images: list[Generated], root: str | Path, name: str) -> list[Generated]:
    """The images that the filter keeps.

    Raises:
        InputError: no figures of it, figures of other images, or none is kept.
    """
    path = filter_path(root, name)
    stored = read_json(path, FilterFile, FILTER_KIND)
    kept = {row.key: row.kept for row in stored.rows}
    if unknown := next((image.key for image in images if image.key not in kept), None):
        raise InputError(f"{path}: does not hold {unknown}; run prepare dst-filter again")
    if stored.settings.get(FILTERED) not in (None, digest_of_images(images)):  # None: of a version that did not say
        raise InputError(f"{path}: is of other images than those there now; run prepare dst-filter again")
    found = [image for image in images if kept[image.key]]
    if not found:
        raise InputError(f"{path}: keeps none of {len(images)} images; lower --drop of prepare dst-filter")
    return found
