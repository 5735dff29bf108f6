"""What a run injected is counted once, whoever counts it."""

from __future__ import annotations

import json

import numpy as np
import torch

from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Batch, Objects
from lit.callbacks.injected import BIN_EDGES, InjectedObjects

CAMERA = Camera(np.array([[180.0, 0, 160, 0], [0, 180, 45, 0], [0, 0, 1, 0]]), 320, 96)


def batch(*frames: list[tuple[str, str, float]]) -> Batch:
    """A batch from each frame's objects: class, provenance, depth; those at depth -1000 have no size."""
    objects = []
    for rows in frames:
        n, z = len(rows), np.array([row[2] for row in rows])
        boxes = Boxes3D(np.stack([np.zeros(n), np.ones(n), z], 1), np.tile([4.1, 1.5, 1.7], (n, 1)), np.zeros(n))
        boxes.dims[z == -1000] = -1
        zero, names = np.zeros(n), np.array([row[0] for row in rows], str)
        bbox = np.tile([10.0, 20, 30, 31], (n, 1))
        ids = np.array([row[1] for row in rows], str)
        objects.append(Objects(boxes, names, bbox, zero, zero.astype(int), boxes.alpha, None, ids))
    n = len(frames)
    pictures = torch.zeros(n, 3, 4, 4, dtype=torch.uint8)
    return Batch(pictures, torch.zeros(n, 3, 4), tuple(objects), (CAMERA,) * n, tuple(map(str, range(n))))


FIRST = batch([("Car", "real", 12.0), ("Car", "a", 22.0), ("DontCare", "real", -1000.0)], [("Van", "real", 500.0)])
SECOND = batch([("Car", "a", 22.0), ("Car", "b", 7.0)], [], [("Car", "real", 3.0), ("Car", "real", -2.0)])


def counted(*batches: Batch) -> InjectedObjects:
    found = InjectedObjects()
    for one in batches:
        found.count(one)
    return found


def test_objects_frames_and_bins_are_counted_by_kind_and_class() -> None:
    found = counted(FIRST, SECOND)
    injected, labelled = found.summary(40, "AssetBank"), found.labelled()
    assert {key: injected[key] for key in ("images", "objects", "distinct", "passes", "source", "pool")} == {
        "images": 5, "objects": 3, "distinct": 2, "passes": 1.5, "source": "AssetBank", "pool": 40,
    }  # fmt: skip
    assert set(injected["classes"]) == {"Car"}
    assert set(labelled["classes"]) == {"Car", "Van"}
    car = injected["classes"]["Car"]
    assert car["frames"][:4] == [3, 1, 1, 0]
    depth = dict(zip(BIN_EDGES["depth"], car["bins"]["depth"]))
    assert {low: count for low, count in depth.items() if count} == {5: 1, 20: 2}
    assert dict(zip(BIN_EDGES["height"], car["bins"]["height"]))[10] == 3
    assert labelled["classes"]["Van"]["bins"]["depth"][-1] == 1  # beyond the last edge
    assert labelled["classes"]["Car"]["bins"]["depth"][0] == 2  # and before the first
    for name, edges in BIN_EDGES.items():
        assert len(car["bins"][name]) == len(edges) - 1
        assert sum(car["bins"][name]) == car["objects"] == 3


def test_two_halves_added_up_are_the_whole() -> None:
    together = InjectedObjects()
    for part in (FIRST, SECOND):
        together.add(json.loads(json.dumps(counted(part).state())))
    assert together.state() == counted(FIRST, SECOND).state()
    assert together.over_ranks().state() == together.state()


def test_a_run_that_injected_nothing_says_so() -> None:
    found = counted(batch([("Car", "real", 12.0)])).summary(None, None)
    assert (found["objects"], found["distinct"], found["passes"], found["classes"]) == (0, 0, None, {})
