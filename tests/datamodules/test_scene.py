"""The scene contract: frames stack without copies in the wrong layout, and label sets keep their columns together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import REAL, Frame, Objects, collate


def objects(n: int, score: bool = False) -> Objects:
    ones = np.ones(n)
    boxes = Boxes3D(np.arange(3.0 * n).reshape(n, 3), np.ones((n, 3)), np.zeros(n))
    return Objects(
        boxes,
        np.array(["Car"] * n),
        np.ones((n, 4)),
        ones,
        np.zeros(n, np.int64),
        ones,
        score=np.linspace(0, 1, n) if score else None,
    )


def frame(sample_id: str, value: int) -> Frame:
    image = np.full((6, 8, 3), value, np.uint8)
    image[0, 0] = (1, 2, 3)
    return Frame(image.transpose(2, 0, 1), Camera(np.eye(3, 4), 8, 6), objects(2), sample_id)


def test_collate_stacks_in_channels_last_memory() -> None:
    batch = collate([frame("a", 10), frame("b", 20)])
    assert batch.images.shape == (2, 3, 6, 8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images[0, :, 0, 0].tolist() == [1, 2, 3]
    assert batch.images[1, 0, 5, 7].item() == 20
    assert batch.sample_ids == ("a", "b")
    assert len(batch) == 2
    assert batch.to("cpu").projections.dtype == torch.float32


def test_objects_are_real_until_said_otherwise() -> None:
    assert objects(3).provenance.tolist() == [REAL] * 3


def test_indexing_keeps_the_columns_together() -> None:
    every = objects(4, score=True)
    picked = every[np.array([2, 0])]
    np.testing.assert_array_equal(picked.boxes.center, every.boxes.center[[2, 0]])
    assert picked.score is not None
    assert every.score is not None
    np.testing.assert_array_equal(picked.score, every.score[[2, 0]])


@pytest.mark.parametrize("n", [0, 1, 3])
def test_concatenate_with_nothing_changes_nothing(n: int) -> None:
    joined = Objects.concatenate([Objects.empty(), objects(n)])
    assert len(joined) == n
    np.testing.assert_array_equal(joined.boxes.center, objects(n).boxes.center)
    assert joined.names.tolist() == ["Car"] * n
    assert joined.score is None


def test_scores_survive_only_when_every_part_has_them() -> None:
    both = Objects.concatenate([objects(1, score=True), objects(2, score=True)])
    assert both.score is not None
    assert len(both.score) == 3
    assert Objects.concatenate([objects(1, score=True), objects(2)]).score is None


def test_velocities_and_attributes_stay_with_their_objects() -> None:
    known = replace(objects(2), velocity=np.array([[1.0, 2.0], [3.0, 4.0]]), attribute=np.array(["a", ""]))
    joined = Objects.concatenate([known, known])
    assert joined.velocity is not None
    assert joined.attribute is not None
    np.testing.assert_array_equal(joined[[3]].velocity, [[3.0, 4.0]])
    attribute = joined[[2]].attribute
    assert attribute is not None
    assert attribute.tolist() == ["a"]
    assert Objects.concatenate([known, objects(1)]).velocity is None
