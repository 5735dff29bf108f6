"""The cars of ``prepare gan-views`` on disk: drawn one after another, each in the poses of one set of codes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import numpy as np

from datamodules.cluster.ray_cluster import CLUSTER, spread_jobs
from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.typed_json import read_json
from datamodules.objects.posed_images import write_object, write_posed_index
from datamodules.processes import track
from lit.pictures.pictures import png, stacked
from lit.posing.views import GanCar, GanViews

TRIES = 5  # cars drawn for each one that is asked for, before giving up
SHOWN = 8  # cars in the picture, and views of each


class _Draw(TypedDict):
    kept: bool
    faults: dict[str, int]


class _Progress(msgspec.Struct):
    settings: dict[str, Any]
    draws: list[_Draw]


class GanDraws:
    """Draws cars into a folder; a run that was interrupted goes on where it stopped.

    Args:
        root: folder; it becomes a posed image set.
        settings: whatever changes a car; not how many there are.

    Raises:
        InputError: the folder holds something else.
    """

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        self.root, self.settings = root, settings
        self.path = root / "draws.json"
        self.drawn: list[_Draw] = []
        if self.path.is_file():
            self.drawn = self._stored()
        elif root.is_dir() and any(not path.name.startswith(".") for path in root.iterdir()):
            raise InputError(f"{root}: holds other files; expected a new folder or one of this command")
        else:
            self._store()

    def _stored(self) -> list[_Draw]:
        """The draws of an earlier run."""
        found = read_json(self.path, _Progress, "the progress of this command; delete the folder and run again")
        old, new = found.settings, self.settings
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if not changed:
            return found.draws
        raise InputError(f"{self.root}: written with another {', '.join(changed)}; delete it or give another --root")

    def _store(self) -> None:
        write_atomically(self.path, json.dumps({"settings": self.settings, "draws": self.drawn}))

    def draw(self, makers: Sequence[GanViews], objects: int) -> list[int]:
        """Draw cars until enough are good; car number n is made by ``makers[n % len(makers)]``.

        Returns:
            Numbers of the first ``objects`` good ones.

        Raises:
            InputError: too few of them are good.
        """
        limit = TRIES * objects
        cars = drawn_cars(makers, range(len(self.drawn), limit), objects)
        for number in track(range(limit), "cars drawn"):
            if sum(car["kept"] for car in self.drawn) >= objects:
                break
            if number < len(self.drawn):
                continue
            maker, car = makers[number % len(makers)], next(cars)
            if car.rgba is not None:
                arrays = {"rgba": car.rgba, "projection": maker.poses.projection[car.views]}
                write_object(self.root, name(number), arrays)
            self.drawn.append({"kept": car.rgba is not None, "faults": car.faults})
            self._store()
        kept = [number for number, car in enumerate(self.drawn) if car["kept"]]
        if len(kept) < objects:
            raise InputError(
                f"{len(kept)} cars have {self.settings['views']} good views, expected {objects} ("
                f"{self.faults(len(makers[0].poses))}); lower --views or --objects, or relax --min-confidence, "
                "--min-area, --min-overlap"
            )
        return kept[:objects]

    def faults(self, poses: int) -> str:
        """How many views were dropped for which reason."""
        counts: Counter[str] = Counter()
        for car in self.drawn:
            counts.update(car["faults"])
        lost = ", ".join(f"{count} {fault}" for fault, count in sorted(counts.items())) or "none"
        return f"{len(self.drawn)} cars drawn, dropped of {len(self.drawn) * poses} views: {lost}"

    def finish(self, makers: Sequence[GanViews], kept: Sequence[int], kind: str, size: int, source: str) -> None:
        """Write a picture of some cars, then the index.

        Args:
            makers: as in :meth:`draw`.
            kept: numbers of the cars.
            kind: their class name.
            size: pixels a side of their views.
            source: where they come from.
        """
        _draw_sheet(self.root, kept[:SHOWN])
        dims = np.stack([makers[number % len(makers)].poses.dims for number in kept])
        write_posed_index(self.root, kind, size, makers[0].views, [name(number) for number in kept], dims, source)


def drawn_cars(makers: Sequence[GanViews], numbers: Sequence[int], objects: int) -> Iterator[GanCar]:
    """Cars one after the other, drawn as they are asked for; on a cluster, where there is one, some ahead.

    Args:
        makers: car number n is made by ``makers[n % len(makers)]``.
        numbers: of the cars.
        objects: how many are wanted: what is drawn ahead at most.
    """
    job = partial(_draw, tuple(makers))
    if not (address := os.environ.get(CLUSTER)):
        yield from map(job, numbers)
        return
    gpus = int(makers[0].poses.latents.is_cuda)
    for start in range(0, len(numbers), objects):
        yield from spread_jobs(job, numbers[start : start + objects], os.cpu_count() or 1, address, gpus)


def _draw(makers: Sequence[GanViews], number: int) -> GanCar:
    return makers[number % len(makers)].draw(number)


def name(number: int) -> str:
    """Id of a car."""
    return f"gan-{number:06d}"


def _draw_sheet(root: Path, numbers: Sequence[int]) -> None:
    """A picture of some cars, cut out."""
    tiles = []
    for number in numbers:
        with np.load(root / f"{name(number)}.npz", allow_pickle=False) as stored:
            rgba = stored["rgba"]
        for view in rgba[np.linspace(0, len(rgba) - 1, SHOWN).round().astype(int)]:
            alpha = view[..., 3:] / 255.0
            tiles.append((view[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))
    write_atomically(root / "cars.png", png(stacked(tiles, SHOWN, 2)))
