"""What a training run injected, beside the labelled objects of the same frames: histograms with fixed bins.

Objects are counted as the detector gets them, after augmentation. The record holds the edges with the counts, so that
runs are compared without knowing this file (:mod:`lit.leaderboard.arms`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from datamodules.scene import REAL, Batch, Objects

TURN = [round(-math.pi + step * math.pi / 8, 6) for step in range(17)]  # radians
BIN_EDGES: dict[
    str, list[float]
] = {  # a value below the first edge or from the last on counts in the first or last bin
    "depth": [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 80, 100],  # metres
    "alpha": TURN,  # observation angle
    "yaw": TURN,
    "height": [0, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 400],  # of the 2D box, pixels
    "length": [0, 1, 2, 3, 3.25, 3.5, 3.75, 4, 4.25, 4.5, 4.75, 5, 6, 8, 12],  # metres
    "occlusion": [-1, 0, 1, 2, 3, 4],  # KITTI's level
    "truncation": [-1, 0, 0.001, 0.15, 0.3, 0.5, 0.85, 1],  # share
}
PER_FRAME = 16  # objects of a class in one frame; more count as so many
KINDS = ("injected", "labelled")


def columns(objects: Objects) -> dict[str, np.ndarray]:
    """(N,) values of every quantity in :data:`BIN_EDGES`."""
    boxes = objects.boxes
    return {
        "depth": boxes.center[:, 2],
        "alpha": boxes.alpha,
        "yaw": boxes.yaw,
        "height": objects.bbox[:, 3] - objects.bbox[:, 1],
        "length": boxes.dims[:, 0],
        "occlusion": objects.occlusion,
        "truncation": objects.truncation,
    }


class Tally:
    """Counts of the objects of one kind ("injected", "labelled") and class.

    Attributes:
        objects: how many.
        frames: (PER_FRAME + 1,) frames by their number of objects; those with none are not counted here.
        bins: quantity to counts.
    """

    def __init__(self) -> None:
        self.objects, self.frames = 0, np.zeros(PER_FRAME + 1, np.int64)
        self.bins = {name: np.zeros(len(edges) - 1, np.int64) for name, edges in BIN_EDGES.items()}

    def state(self) -> dict[str, Any]:
        """Plain data."""
        bins = {name: counts.tolist() for name, counts in self.bins.items()}
        return {"objects": self.objects, "frames": self.frames.tolist(), "bins": bins}

    def add(self, state: dict[str, Any]) -> None:
        """Add another's :meth:`state`."""
        self.objects += int(state["objects"])
        self.frames += np.array(state["frames"])
        for name, counts in state["bins"].items():
            self.bins[name] += np.array(counts)


class InjectedObjects:
    """Tallies of one process, which can be added up over processes and over the parts of a resumed run.

    Attributes:
        images: training frames seen.
        ids: distinct injected objects.
        tallies: by kind and class.
    """

    def __init__(self) -> None:
        self.images = 0
        self.ids: set[str] = set()
        self.tallies: dict[str, dict[str, Tally]] = {kind: {} for kind in KINDS}
        self._edges = {name: np.array(edges) for name, edges in BIN_EDGES.items()}

    def count(self, batch: Batch) -> None:
        """Take in a batch: some 0.2 ms for one of eight frames."""
        self.images += len(batch)
        owner = np.repeat(np.arange(len(batch)), [len(objects) for objects in batch.objects])
        if not len(owner):
            return
        objects = Objects.concatenate(list(batch.objects))
        injected = objects.provenance != REAL
        self.ids.update(objects.provenance[injected].tolist())
        known = (objects.boxes.dims > 0).all(1)  # not KITTI's DontCare
        names, which = np.unique(objects.names, return_inverse=True)
        group = np.where(known, 2 * which + ~injected, 2 * len(names))  # the last group is for what is not known
        groups = 2 * len(names) + 1
        total = np.bincount(group, minlength=groups)
        held = np.bincount(group * len(batch) + owner, minlength=groups * len(batch)).reshape(groups, -1)
        found = {}
        for name, values in columns(objects).items():
            edges = self._edges[name]
            bins = np.searchsorted(edges, values, side="right").clip(1, len(edges) - 1) - 1
            width = len(edges) - 1
            found[name] = np.bincount(group * width + bins, minlength=groups * width).reshape(groups, width)
        for index in np.flatnonzero(total[:-1]):
            tally = self.tallies[KINDS[index % 2]].setdefault(str(names[index // 2]), Tally())
            tally.objects += int(total[index])
            tally.frames += np.bincount(held[index][held[index] > 0].clip(max=PER_FRAME), minlength=PER_FRAME + 1)
            for name, counts in found.items():
                tally.bins[name] += counts[index]

    @property
    def injected(self) -> int:
        """Injected objects, whatever their class and size."""
        return sum(tally.objects for tally in self.tallies["injected"].values())

    def state(self) -> dict[str, Any]:
        """Plain data of these counts."""
        tallies = {kind: {name: t.state() for name, t in found.items()} for kind, found in self.tallies.items()}
        return {"images": self.images, "ids": sorted(self.ids), "tallies": tallies}

    def add(self, state: dict[str, Any]) -> None:
        """Add another's :meth:`state`: sums of counts, the union of the distinct objects."""
        self.images += int(state["images"])
        self.ids.update(state["ids"])
        for kind, found in state["tallies"].items():
            for name, tally in found.items():
                self.tallies[kind].setdefault(name, Tally()).add(tally)

    def over_ranks(self) -> InjectedObjects:
        """Those of all processes together; every process must ask at the same time."""
        together = InjectedObjects()
        for state in gathered(self.state()):
            together.add(state)
        return together

    def summary(self, pool: int | None, source: str | None) -> dict[str, Any]:
        """What the record says.

        Args:
            pool: distinct objects that the source holds; None where there is no end of them, or no source.
            source: its class, None without one.
        """
        return {
            "images": self.images,
            "objects": self.injected,
            "distinct": len(self.ids),
            "passes": round(self.injected / len(self.ids), 3) if self.ids else None,
            "source": source,
            "pool": pool,
            "edges": BIN_EDGES,
            "classes": self._by_class("injected"),
        }

    def labelled(self) -> dict[str, Any]:
        """The same of the labelled objects in the same frames."""
        return {"images": self.images, "edges": BIN_EDGES, "classes": self._by_class("labelled")}

    def _by_class(self, kind: str) -> dict[str, Any]:
        found = {name: tally.state() for name, tally in sorted(self.tallies[kind].items())}
        for tally in found.values():
            tally["frames"][0] = self.images - sum(tally["frames"][1:])
        return found


def gathered(state: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The states of all processes, or the one of a process that is alone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [state]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, state)
    return states
