"""What each sample adds to nuScenes' AP, so that the AP of any choice of samples follows without the boxes.

The benchmark matches within a sample; only the ranking of all predictions by score is shared. A sample drawn twice
counts as two samples, whose equal scores stand next to each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import DETECTION_NAMES
from lit.metrics.array_files import read_array_file, smallest, write_array_file
from lit.metrics.nuscenes.matching import DISTANCE_LIMITS, average_precision

EXPECTED = "sample matches, as a run's evaluation writes them"
SCHEMA = 1
LIMITS = tuple(str(limit) for limit in DISTANCE_LIMITS.tolist())


@dataclass(frozen=True)
class ClassMatches:
    """Annotations and predictions of one class in S samples.

    Attributes:
        counted: (S,) int64 number of annotations.
        sample: (P,) int64 sample of each prediction, best first.
        scores: (P,) float64.
        hits: (4, P) bool, whether it finds an annotation at each distance limit.
    """

    counted: np.ndarray
    sample: np.ndarray
    scores: np.ndarray
    hits: np.ndarray


@dataclass(frozen=True)
class RecordedSamples:
    """The matches of one evaluation.

    Attributes:
        samples: S tokens.
        groups: S names of the scene that each sample belongs to; its own token where it stands alone.
        classes: class to its matches, all of the benchmark's classes.
        evaluator: what computed them, with its version.
    """

    samples: tuple[str, ...]
    groups: tuple[str, ...]
    classes: dict[str, ClassMatches]
    evaluator: str = ""

    def ap(self, figure: str, frames: np.ndarray | None = None) -> float:
        """A figure over some samples, a fraction; for each sample once, to the last digit that of the evaluator.

        Args:
            figure: "nuscenes/mAP", "nuscenes/car/AP", or "nuscenes/car/AP/2.0".
            frames: (N,) indices of samples, with repeats; None for each once.

        Raises:
            InputError: another figure.
        """
        size = len(self.samples)
        weights = np.ones(size, np.int64) if frames is None else np.bincount(frames, minlength=size)
        if figure == "nuscenes/mAP":
            return float(np.mean([self._mean(weights, name) for name in self.classes]))
        match figure.split("/"):
            case ["nuscenes", name, "AP"] if name in self.classes:
                return self._mean(weights, name)
            case ["nuscenes", name, "AP", limit] if name in self.classes and limit in LIMITS:
                return _limited(weights, self.classes[name], LIMITS.index(limit))
        raise InputError(
            f"figure {figure!r} is not recorded: expected nuscenes/mAP, nuscenes/CLASS/AP, or nuscenes/CLASS/AP/LIMIT"
        )

    def _mean(self, weights: np.ndarray, name: str) -> float:
        return float(np.mean([_limited(weights, self.classes[name], limit) for limit in range(len(LIMITS))]))


def write_matches(path: Path, recorded: RecordedSamples) -> str:
    """Write a file, whole or not at all; returns its SHA-256.

    Arrays: ``version``, ``evaluator``, ``samples``, ``groups``, ``classes``; over all classes one after another
    ``counted`` (C, S), ``sizes`` (C,) of the lists, ``sample``, ``scores`` and ``hits`` (P,), one bit a limit.
    """
    classes = recorded.classes.values()
    scores = np.concatenate([matches.scores for matches in classes])
    exact = bool((scores.astype(np.float32) == scores).all())
    bits = 1 << np.arange(len(LIMITS))
    return write_array_file(
        path,
        {
            "version": np.array(SCHEMA, np.uint8),
            "evaluator": np.array(recorded.evaluator, str),
            "samples": np.array(recorded.samples, str),
            "groups": np.array(recorded.groups, str),
            "classes": np.array([*recorded.classes], str),
            "counted": smallest(np.stack([matches.counted for matches in classes])),
            "sizes": np.array([len(matches.sample) for matches in classes], np.uint32),
            "sample": smallest(np.concatenate([matches.sample for matches in classes])),
            "scores": scores.astype(np.float32) if exact else scores,
            "hits": np.concatenate([bits @ matches.hits for matches in classes]).astype(np.uint8),
        },
    )


def read_matches(path: Path) -> RecordedSamples:
    """Read and check a file.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it is damaged, or something else.
    """
    return read_array_file(path, EXPECTED, _checked)


def _checked(stored: dict[str, np.ndarray]) -> RecordedSamples:
    """Rebuild the matches of a file's arrays.

    Raises:
        ValueError: they do not fit together.
        KeyError: one is missing.
    """
    if int(stored["version"]) != SCHEMA:
        raise ValueError(f"version {stored['version']}, expected {SCHEMA}")
    samples, groups, classes = (tuple(stored[name].tolist()) for name in ("samples", "groups", "classes"))
    counted, sizes, sample, bits = (stored[name].astype(np.int64) for name in ("counted", "sizes", "sample", "hits"))
    scores = stored["scores"].astype(np.float64)
    if classes != DETECTION_NAMES or counted.shape != (len(classes), len(samples)) or sizes.shape != (len(classes),):
        raise ValueError("classes, counted and sizes do not fit together")
    if len(groups) != len(samples) or len(set(samples)) != len(samples):
        raise ValueError("samples stand twice, or not each has a group")
    if not sample.shape == scores.shape == bits.shape == (sizes.sum(),):
        raise ValueError("the lists have another length than sizes say")
    if (sample >= len(samples)).any() or (bits >= 1 << len(LIMITS)).any() or not np.isfinite(scores).all():
        raise ValueError("a sample, score or match is out of range")
    hits = (bits >> np.arange(len(LIMITS))[:, None] & 1).astype(bool)
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends.tolist(), sizes.tolist())]
    if any((np.diff(scores[part]) > 0).any() for part in parts):
        raise ValueError("scores do not descend")
    if any(
        (np.bincount(sample[p], hits[k, p], len(samples)) > c).any() for p, c in zip(parts, counted) for k in range(4)
    ):
        raise ValueError("more matches than annotations")
    matches = [ClassMatches(c, sample[part], scores[part], hits[:, part]) for c, part in zip(counted, parts)]
    return RecordedSamples(samples, groups, dict(zip(classes, matches)), str(stored["evaluator"]))


def _limited(weights: np.ndarray, matches: ClassMatches, limit: int) -> float:
    """AP of one class at one distance limit when sample i counts ``weights[i]`` times."""
    found = np.repeat(matches.hits[limit], weights[matches.sample])
    return average_precision(found, int(weights @ matches.counted))
