"""What a diffusion model is told of a render: keyword, class name and a completion.

3D-DST's recipe has three parts: keywords of the shape's repository, the class name, and a continuation by a language
model ("photo of a jet airliner parked at an airport terminal"). Without a language model, templates stand in for the
continuation; or captions come from a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from datamodules.errors import InputError, closest
from datamodules.files.atomic_files import write_atomically
from datamodules.files.text_files import read_cells
from datamodules.files.typed_json import Finite, Text, read_json
from datamodules.randomness import derive
from datamodules.renders.render_set import Render, RenderedModel, RenderSet
from datamodules.renders.synsets import ON_GROUND
from datamodules.renders.visual_prompts import THRESHOLDS, require_thresholds

NEGATIVE = (
    "longbody, lowres, bad anatomy, extra digit, fewer digits, cropped, worst quality, low quality, drawing, cartoon, "
    "text, watermark"
)
LONGEST_CAPTION = 10_000  # letters, what prompts.json may hold of one
PROMPTS = "prompts.json"
PROMPT_KIND = "prompts of renders (`python -m lit prepare dst-prompts` writes them)"

OPENINGS = ("A photo of {}", "A realistic photograph of {}", "A snapshot of {}", "A close-up photo of {}")
ROAD = (
    "parked on a city street", "on a country road", "at a crossroads", "in front of a brick house", "on a wet motorway",
    "on a cobbled square", "beside a park", "on a bridge", "in a car park", "on a winding mountain road",
    "in a snowy street", "at a petrol station",
)  # fmt: skip
PAVEMENTS = (
    "on a pavement", "at a zebra crossing", "in a park", "in front of a shop", "on a market square", "at a bus stop",
    "in a narrow lane", "on a promenade",
)  # fmt: skip
ANYWHERE = (
    "on a wooden floor", "on a table", "in a garden", "in a bright room", "on grass", "in a workshop", "by a window",
    "against a plain wall", "on a beach", "in a museum",
)  # fmt: skip
LIGHTS = ("in sunlight", "under an overcast sky", "at dusk", "in the rain", "in the morning", "at night", "")
QUALITIES = ("best quality, extremely detailed", "sharp focus", "highly detailed, 35 mm", "")

Completer = Callable[[str, int], str]  # the beginning of a prompt and a seed -> its continuation


class Describing(Protocol):
    """What says in words what a picture shows, as a :class:`datamodules.renders.render_set.RenderedModel` does."""

    @property
    def words(self) -> str: ...
    @property
    def keywords(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Described:
    """A class in words, and its other names."""

    words: str
    keywords: tuple[str, ...] = ()


class Prompts(msgspec.Struct, omit_defaults=True):
    """``prompts.json`` of one synset: the text of each render by "model/NNN", what all images shall not show, and
    Canny's thresholds where they are not the usual ones.
    """

    schema: int
    source: Text
    seed: int
    negative: Text
    prompts: dict[str, Text]
    canny: tuple[Finite, Finite] = THRESHOLDS


def with_article(words: str) -> str:
    """ "a car", "an airplane"."""
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def subject(model: Describing, rng: np.random.Generator) -> str:
    """The class name, or with equal share each of its keywords, which then stand before it unless they hold it."""
    keywords = [word for word in model.keywords if word and word != model.words]
    chosen = (model.words, *keywords)[int(rng.integers(len(keywords) + 1))]
    return chosen if chosen == model.words or model.words in chosen.split() else f"{chosen} ({model.words})"


def template_prompt(model: Describing, rng: np.random.Generator) -> str:
    """One combination of opening, subject, place, light and quality."""
    places = PAVEMENTS if model.words in ("pedestrian", "person") else ROAD if model.words in ON_GROUND else ANYWHERE
    parts = [OPENINGS, places, LIGHTS, QUALITIES]
    opening, place, light, quality = (str(part[int(rng.integers(len(part)))]) for part in parts)
    said = f"{opening.format(with_article(subject(model, rng)))} {place}"
    return ", ".join([f"{said} {light}".strip(), *([quality] if quality else [])])


def read_captions(path: str | Path, models: list[RenderedModel]) -> dict[str, list[str]]:
    """Captions by synset of a CSV file with the columns ``class`` (words or synset) and ``caption``.

    Raises:
        InputError: a column is missing, a caption empty, a class unknown to the renders, or a rendered class without
            captions.
    """
    synsets = {name: model.synset for model in models for name in (model.words, model.synset)}
    found: dict[str, list[str]] = {}
    for line, row in read_cells(path, "captions, a CSV file", ("class", "caption")):
        name, caption = row["class"], row["caption"]
        if name not in synsets:
            raise InputError(
                f"{path}: line {line}: class {name!r} is not of the renders{closest(name, synsets)}; expected "
                f"one of {', '.join(sorted({model.words for model in models}))}"
            )
        if len(caption) > LONGEST_CAPTION:
            raise InputError(
                f"{path}: line {line}: a caption of {len(caption)} letters, expected at most {LONGEST_CAPTION}; is a "
                "quote left open there?"
            )
        if not caption:
            raise InputError(f"{path}: line {line}: no caption; write one or remove the row")
        found.setdefault(synsets[name], []).append(caption)
    for model in models:
        if model.synset not in found:
            raise InputError(f"{path}: no caption for the class {model.words!r} ({model.synset}); add rows of it")
    return found


def write_text_prompts(
    renders: RenderSet,
    seed: int = 0,
    captions: str | Path | None = None,
    complete: Completer | None = None,
    negative: str = NEGATIVE,
    thresholds: tuple[float, float] = THRESHOLDS,
) -> int:
    """Write ``prompts.json`` beside the models of each synset; how many prompts.

    Args:
        renders: what they are of.
        seed: of the draws; each render has its own.
        captions: file to draw from, in place of templates.
        complete: continues "A photo of a car" (a language model); templates stand in where it says nothing.
        negative: what the images shall not show.
        thresholds: of the edges that the images are drawn from.

    Raises:
        InputError: see :func:`read_captions`; captions and a language model together; impossible thresholds.
    """
    require_thresholds(*thresholds)
    if captions is not None and complete is not None:
        raise InputError(f"captions {captions} and a language model: expected one of both; leave the other out")
    drawn = {} if captions is None else read_captions(captions, renders.index.models)
    source = (
        f"captions {Path(captions).name}" if captions is not None else "language model" if complete else "templates"
    )
    written: dict[str, dict[str, str]] = {}
    for model in renders.index.models:
        for render in renders.of(model):
            rng = derive(seed, "prompt", model.synset, model.model, render.view)
            if drawn:
                texts = drawn[model.synset]
                prompt = texts[int(rng.integers(len(texts)))]
            else:
                prompt = template_prompt(model, rng)
            if complete is not None:
                start = f"A photo of {with_article(subject(model, rng))}"
                prompt = f"{start} {said}" if (said := complete(start, int(rng.integers(2**31)))) else prompt
            written.setdefault(model.synset, {})[f"{model.model}/{render.view:03d}"] = prompt
    for synset, prompts in written.items():
        content = msgspec.to_builtins(Prompts(1, source, seed, negative, prompts, thresholds))
        write_atomically(renders.root / synset / PROMPTS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return sum(map(len, written.values()))


class PromptBook:
    """Prompts of a folder of renders, read once a synset."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._read: dict[str, Prompts] = {}

    def __getitem__(self, render: Render) -> tuple[str, str]:
        """Prompt and negative prompt of a render.

        Raises:
            InputError: its synset has no prompts, or they lack this render.
        """
        synset, model = render.folder.parent.name, render.folder.name
        found = self._of(synset)
        key = f"{model}/{render.view:03d}"
        if key not in found.prompts:
            raise InputError(f"{self._root / synset / PROMPTS}: no prompt of {key}; run prepare dst-prompts again")
        return found.prompts[key], found.negative

    def thresholds(self, render: Render) -> tuple[float, float]:
        """Canny's thresholds that a render's edges are drawn with; the usual ones where nobody has chosen any."""
        synset = render.folder.parent.name
        return self._of(synset).canny if (self._root / synset / PROMPTS).is_file() else THRESHOLDS

    def _of(self, synset: str) -> Prompts:
        if synset not in self._read:
            self._read[synset] = read_json(self._root / synset / PROMPTS, Prompts, PROMPT_KIND)
        return self._read[synset]
