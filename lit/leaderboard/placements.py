"""Where injected objects stand beside where labelled ones of their class do: x, z, yaw and the 2D box's height.

The distance of two samples is Kolmogorov and Smirnov's D, and for yaw Kuiper's V, on the values themselves
(:func:`lit.leaderboard.arms.two_sample`, every value a bin of its own). 0 is agreement, 1 no overlap. A p-value is not
given: objects of a frame are no independent draws.
"""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from datamodules.errors import InputError
from datamodules.scene import REAL, Frame, Objects
from lit.leaderboard.arms import two_sample
from lit.leaderboard.charts import ARM_COLOURS, STYLE

VERSION = "1"
TEXTS = {"x": "x, metres", "z": "z, metres", "yaw": "yaw, radians", "height": "2D box height, pixels"}
BINS = 24


def quantities(objects: Objects) -> dict[str, np.ndarray]:
    """(N,) values of every quantity of :data:`TEXTS`."""
    center = objects.boxes.center
    height = objects.bbox[:, 3] - objects.bbox[:, 1]
    return {"x": center[:, 0], "z": center[:, 2], "yaw": objects.boxes.yaw, "height": height}


@dataclass(frozen=True)
class PlacementRow:
    """One quantity of one class.

    Attributes:
        name: the class.
        quantity: a key of :data:`TEXTS`.
        measure: "D" or "V".
        distance: in [0, 1].
        injected: 5th, 50th and 95th percentile of the injected objects' values.
        labelled: of the labelled ones'.
        counts: injected and labelled objects.
    """

    name: str
    quantity: str
    measure: str
    distance: float
    injected: tuple[float, ...]
    labelled: tuple[float, ...]
    counts: tuple[int, int]


class Placements:
    """Injected and labelled objects of some frames.

    Attributes:
        frames: frames added.
        values: class, then quantity, to arrays of injected and of labelled objects, one a frame.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.values: dict[str, dict[str, tuple[list[np.ndarray], list[np.ndarray]]]] = defaultdict(
            lambda: {quantity: ([], []) for quantity in TEXTS}
        )

    def add(self, before: Frame, after: Frame) -> None:
        """Take in a frame: all its labelled objects that have a size, and what was injected."""
        self.frames += 1
        injected = after.objects[np.flatnonzero(after.objects.provenance != REAL)]
        labelled = before.objects[np.flatnonzero((before.objects.boxes.dims > 0).all(1))]
        for kind, objects in enumerate((injected, labelled)):
            for name in np.unique(objects.names).tolist():
                for quantity, values in quantities(objects[np.flatnonzero(objects.names == name)]).items():
                    self.values[name][quantity][kind].append(values)

    @property
    def classes(self) -> list[str]:
        """Those of which something was injected."""
        return sorted(name for name, found in self.values.items() if found["x"][0])

    @property
    def injected(self) -> int:
        """Injected objects of all classes."""
        return sum(len(values) for name in self.classes for values in self.values[name]["x"][0])

    def samples(self, name: str, quantity: str) -> tuple[np.ndarray, np.ndarray]:
        """Values of a class's injected and labelled objects."""
        first, second = self.values[name][quantity]
        empty = np.zeros(0)
        return np.concatenate([empty, *first]), np.concatenate([empty, *second])

    def compare(self) -> list[PlacementRow]:
        """One row a class and quantity.

        Raises:
            InputError: nothing was injected, or nothing of what was injected is labelled.
        """
        known = [name for name in self.classes if self.values[name]["x"][1]]
        if not known:
            what = ", ".join(self.classes)
            stated = f"{what} injected and none labelled" if what else "nothing injected"
            raise InputError(
                f"placement: {stated} in {self.frames} frames, expected some; take more --frames or check the injection"
            )
        return [self._row(name, quantity) for name in known for quantity in TEXTS]

    def _row(self, name: str, quantity: str) -> PlacementRow:
        injected, labelled = self.samples(name, quantity)
        ends = [tuple(np.percentile(values, [5, 50, 95]).tolist()) for values in (injected, labelled)]
        circular = quantity == "yaw"
        distance = sample_distance(injected, labelled, circular)
        counts = len(injected), len(labelled)
        return PlacementRow(name, quantity, "V" if circular else "D", distance, ends[0], ends[1], counts)


def sample_distance(one: np.ndarray, other: np.ndarray, circular: bool = False) -> float:
    """D (circular: V) of two samples (N,) and (M,), in [0, 1]."""
    every, where = np.unique(np.concatenate([one, other]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(every)) for part in (where[: len(one)], where[len(one) :])]
    return two_sample(counts[0], counts[1] / len(other), len(other), circular)[0]


@mpl.rc_context(STYLE | {"axes.grid": False})
def histograms(found: Placements) -> bytes:
    """PNG: a row of panels a class, the labelled objects as an area and the injected ones as a line."""
    classes = found.classes
    figure = Figure((10, 2.3 * len(classes) + 0.3), layout="constrained")
    axes = figure.subplots(len(classes), len(TEXTS), squeeze=False)
    for row, name in enumerate(classes):
        for column, (quantity, text) in enumerate(TEXTS.items()):
            injected, labelled = found.samples(name, quantity)
            both = np.concatenate([injected, labelled])
            ends = (-np.pi, np.pi) if quantity == "yaw" else tuple(np.percentile(both, [0.5, 99.5]).tolist())
            edges = np.linspace(ends[0], max(ends[1], ends[0] + 1e-6), BINS + 1)
            panel = axes[row, column]
            if len(labelled):
                shares = np.histogram(labelled, edges)[0] / len(labelled)
                panel.stairs(shares, edges, fill=True, color="#8a8f98", alpha=0.4, label=f"{len(labelled)} labelled")
            shares = np.histogram(injected, edges)[0] / len(injected)
            panel.stairs(shares, edges, color=ARM_COLOURS[0], linewidth=1.4, label=f"{len(injected)} injected")
            panel.set_xlabel(text)
            panel.set_yticks([])
            if column == 0:
                panel.set_ylabel(name)
                panel.legend(frameon=False, fontsize=7)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, facecolor="white")
    return stream.getvalue()
