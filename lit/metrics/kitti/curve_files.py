"""Files of frame curves: plain arrays in an ``.npz``, read without pickle, the same bytes for the same content.

Arrays: ``version``; ``evaluator``, what computed them; ``samples`` (F,) ids; ``groups`` (F,) the drive or scene of each
frame; ``figures`` (M,) names; ``scores`` (U,) ascending, float32 where that holds them exactly; and over all figures,
one after another, ``counted``, ``hit_counts``, ``step_counts`` (M, F), ``hits`` (H,), ``steps``, ``true``, ``reported``
(S,) as in :class:`lit.metrics.kitti.frame_curves.Curve`, in the smallest unsigned integers that hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from lit.metrics.array_files import read_array_file, smallest, write_array_file
from lit.metrics.kitti.frame_curves import Curve, FrameCurves, ap40

SCHEMA = 1
EXPECTED = "frame curves, as a run's evaluation writes them"
COUNTS = ("counted", "hit_counts", "step_counts")
LISTS = ("hits", "steps", "true", "reported")
TEXTS = ("evaluator", "samples", "groups", "figures")


@dataclass(frozen=True)
class RecordedFrames:
    """The frame curves of one evaluation.

    Attributes:
        samples: F ids of the frames.
        groups: F names of the drive or scene that each frame belongs to; a frame's own id where it stands alone.
        curves: their contributions.
        evaluator: what computed them, with its version.
    """

    samples: tuple[str, ...]
    groups: tuple[str, ...]
    curves: FrameCurves
    evaluator: str = ""

    def ap(self, figure: str, frames: np.ndarray | None = None) -> float:
        """AP40 in percent of a figure over some frames; see :func:`lit.metrics.kitti.frame_curves.ap40`.

        Raises:
            InputError: the figure is not recorded.
        """
        if figure not in self.curves.curves:
            raise InputError(f"figure {figure!r} is not recorded: expected one of {', '.join(self.curves.curves)}")
        return ap40(self.curves.curves[figure], frames)


def write_curves(path: Path, frames: RecordedFrames) -> str:
    """Write a file, whole or not at all; returns its SHA-256."""
    curves = frames.curves.curves
    scores = frames.curves.scores
    exact = bool((scores.astype(np.float32) == scores).all())
    arrays = {
        "version": np.array(SCHEMA, np.uint8),
        "evaluator": np.array(frames.evaluator, str),
        "samples": np.array(frames.samples, str),
        "groups": np.array(frames.groups, str),
        "figures": np.array([*curves], str),
        "scores": scores.astype(np.float32) if exact else scores,
        "counted": _small([curve.counted for curve in curves.values()]),
        "hit_counts": _small([np.diff(curve.hit_offsets) for curve in curves.values()]),
        "step_counts": _small([np.diff(curve.step_offsets) for curve in curves.values()]),
        **{name: _small([getattr(curve, name) for curve in curves.values()], flat=True) for name in LISTS},
    }
    return write_array_file(path, arrays)


def read_curves(path: Path) -> RecordedFrames:
    """Read and check a file.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it is damaged, or something else.
    """
    return read_array_file(path, EXPECTED, _checked)


def _small(parts: Sequence[np.ndarray], flat: bool = False) -> np.ndarray:
    """Parts (M, F), or one after another, in the smallest unsigned integers."""
    return smallest(np.concatenate(parts) if flat else np.stack(parts))


def _checked(stored: dict[str, np.ndarray]) -> RecordedFrames:
    """Rebuild the curves of a file's arrays.

    Raises:
        ValueError: they do not fit together.
        KeyError: one is missing.
    """
    if int(stored["version"]) != SCHEMA:
        raise ValueError(f"version {stored['version']}, expected {SCHEMA}")
    if wrong := [name for name in TEXTS if stored[name].dtype.kind != "U"]:
        raise ValueError(f"{wrong[0]} is no text")
    if wrong := [name for name in (*COUNTS, *LISTS) if stored[name].dtype.kind != "u"]:
        raise ValueError(f"{wrong[0]} holds no counts")
    samples, groups, figures = (tuple(stored[name].tolist()) for name in ("samples", "groups", "figures"))
    shape = len(figures), len(samples)
    counts = {name: stored[name].astype(np.int64) for name in COUNTS}
    lists = {name: stored[name].astype(np.int64) for name in LISTS}
    scores = stored["scores"].astype(np.float64)
    sizes = {"hits": "hit_counts", **dict.fromkeys(("steps", "true", "reported"), "step_counts")}
    if wrong := [name for name in COUNTS if counts[name].shape != shape]:
        raise ValueError(f"{wrong[0]} is {counts[wrong[0]].shape}, expected {shape}")
    if wrong := [name for name, size in sizes.items() if lists[name].shape != (counts[size].sum(),)]:
        raise ValueError(f"{wrong[0]} has another length than {sizes[wrong[0]]} say")
    if len(groups) != len(samples) or len(set(samples)) != len(samples):
        raise ValueError("samples stand twice, or not each has a group")
    if scores.ndim != 1 or not np.isfinite(scores).all() or (np.diff(scores) <= 0).any():
        raise ValueError("scores do not ascend")
    if (
        any((lists[name] >= len(scores)).any() for name in ("hits", "steps"))
        or (lists["true"] > lists["reported"]).any()
    ):
        raise ValueError("a rank or count is out of range")
    curves = {}
    ends = {name: np.cumsum(counts[name].sum(1)) for name in ("hit_counts", "step_counts")}
    for index, name in enumerate(figures):
        parts = {key: lists[key][slice(*_bounds(ends[size], index))] for key, size in sizes.items()}
        hit_offsets, step_offsets = (
            np.concatenate([[0], np.cumsum(counts[key][index])]) for key in ("hit_counts", "step_counts")
        )
        curves[name] = Curve(counts["counted"][index], hit_offsets, parts["hits"], step_offsets, *[*parts.values()][1:])
    return RecordedFrames(samples, groups, FrameCurves(scores, curves), str(stored["evaluator"]))


def _bounds(ends: np.ndarray, index: int) -> tuple[int, int]:
    return (int(ends[index - 1]) if index else 0), int(ends[index])
