"""What each picture adds to AP2D and AP3D, in a file, so that the figures of any choice of pictures follow.

Matching is within a picture; only the ranking of all predictions by score is shared. A picture drawn twice counts as
two, whose equal scores stand next to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from lit.metrics.array_files import read_array_file, smallest, write_array_file
from lit.metrics.omni3d.evaluation import LEAST_IOUS, Traced
from lit.metrics.omni3d.matching import UNCOUNTED, PictureMatches

EXPECTED = "picture matches, as a run's evaluation writes them"
SCHEMA = 1
FIGURES = "omni3d/AP3D, omni3d/AP3D/0.25, omni3d/CLASS/AP3D, likewise AP2D"


@dataclass(frozen=True)
class RecordedPictures:
    """The matches of one evaluation.

    Attributes:
        samples: S ids of the pictures.
        groups: S names of the scene that each belongs to; its own id where it stands alone.
        matches: by class and mode.
        evaluator: what computed them, with its version.
    """

    samples: tuple[str, ...]
    groups: tuple[str, ...]
    matches: Traced
    evaluator: str = ""

    def ap(self, figure: str, frames: np.ndarray | None = None) -> float:
        """A figure over some pictures, in percent; for each picture once, to the last digit that of the evaluator.

        Args:
            figure: "omni3d/AP3D", "omni3d/AP3D/0.25" or "omni3d/Car/AP3D", likewise AP2D.
            frames: (N,) indices of pictures, with repeats; None for each once.

        Raises:
            InputError: another figure, or nothing is labelled in these pictures.
        """
        size = len(self.samples)
        weights = None if frames is None else np.bincount(frames, minlength=size)
        names, limit = self._asked(figure)
        found = [self.matches[name].precisions(weights) for name in names]
        known = [curve for curve in found if curve is not None]
        if not known:
            raise InputError(f"figure {figure!r}: no label that counts among the pictures; expected at least one")
        values = np.stack(known)
        return 100.0 * float(values.mean() if limit is None else values[:, limit].mean())

    def _asked(self, figure: str) -> tuple[list[tuple[str, str]], int | None]:
        """Classes and mode of a figure, and the threshold's place; None for all thresholds."""
        parts = figure.split("/")
        if len(parts) > 1 and parts[0] == "omni3d":
            mode = next((part for part in parts[1:] if part in ("AP2D", "AP3D")), "")
            of_mode = [name for name in self.matches if f"AP{name[1]}" == mode]
            if parts[1:] == [mode] and of_mode:
                return of_mode, None
            if parts[2:] == [mode] and (own := [name for name in of_mode if name[0] == parts[1]]):
                return own, None
            if parts[1:-1] == [mode] and of_mode:
                limits = [f"{limit:g}" for limit in LEAST_IOUS[mode[2:]].round(2)]
                if parts[-1] in limits:
                    return of_mode, limits.index(parts[-1])
        raise InputError(f"figure {figure!r} is not recorded: expected {FIGURES}")


def write_pictures(path: Path, recorded: RecordedPictures) -> str:
    """Write a file, whole or not at all; returns its SHA-256.

    Arrays: ``version``, ``evaluator``, ``samples``, ``groups``, ``names`` and ``modes`` (C,); over all of these one
    after another ``counted`` (C, S), ``sizes`` (C,) of the lists, ``sample``, ``scores`` (P,) and ``states`` (10, P).
    """
    matches = list(recorded.matches.values())
    scores = np.concatenate([one.scores for one in matches])
    exact = bool((scores.astype(np.float32) == scores).all())
    return write_array_file(
        path,
        {
            "version": np.array(SCHEMA, np.uint8),
            "evaluator": np.array(recorded.evaluator, str),
            "samples": np.array(recorded.samples, str),
            "groups": np.array(recorded.groups, str),
            "names": np.array([name for name, _ in recorded.matches], str),
            "modes": np.array([mode for _, mode in recorded.matches], str),
            "counted": smallest(np.stack([one.counted for one in matches])),
            "sizes": np.array([len(one.sample) for one in matches], np.uint32),
            "sample": smallest(np.concatenate([one.sample for one in matches])),
            "scores": scores.astype(np.float32) if exact else scores,
            "states": np.concatenate([one.states for one in matches], 1).astype(np.uint8),
        },
    )


def read_pictures(path: Path) -> RecordedPictures:
    """Read and check a file.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it is damaged, or something else.
    """
    return read_array_file(path, EXPECTED, _checked)


def _checked(stored: dict[str, np.ndarray]) -> RecordedPictures:
    """Rebuild the matches of a file's arrays.

    Raises:
        ValueError: they do not fit together.
        KeyError: one is missing.
    """
    if int(stored["version"]) != SCHEMA:
        raise ValueError(f"version {stored['version']}, expected {SCHEMA}")
    samples, groups, names, modes = (tuple(stored[name].tolist()) for name in ("samples", "groups", "names", "modes"))
    counted, sizes, sample, states = (
        stored[name].astype(np.int64) for name in ("counted", "sizes", "sample", "states")
    )
    scores = stored["scores"].astype(np.float64)
    if len(names) != len(modes) or counted.shape != (len(names), len(samples)) or sizes.shape != (len(names),):
        raise ValueError("names, modes, counted and sizes do not fit together")
    if len(groups) != len(samples) or len(set(samples)) != len(samples) or not set(modes) <= set(LEAST_IOUS):
        raise ValueError("samples stand twice, not each has a group, or a mode is unknown")
    if not sample.shape == scores.shape == states.shape[1:] == (sizes.sum(),) or len(states) != 10:
        raise ValueError("the lists have another length than sizes say")
    if (sample >= len(samples)).any() or (states > UNCOUNTED).any() or not np.isfinite(scores).all():
        raise ValueError("a sample, score or state is out of range")
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends.tolist(), sizes.tolist())]
    matches = [
        PictureMatches(one, sample[part], scores[part], states[:, part].astype(np.int8))
        for one, part in zip(counted, parts)
    ]
    return RecordedPictures(samples, groups, dict(zip(zip(names, modes), matches)), str(stored["evaluator"]))
