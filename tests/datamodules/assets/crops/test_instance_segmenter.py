"""Detections of a segmenter and the labelled objects they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.assets.crops.instance_segmenter import InstanceSegmenter
from datamodules.assets.crops.label_masks import LabelMasks
from datamodules.errors import InputError
from datamodules.scene import Frame
from tests.datamodules.assets.crops.scenes import car_boxes, painted_frame

CAR, PERSON = 3, 1


def segmenter(frame: Frame, *found: tuple[int, int, float]) -> InstanceSegmenter:
    """Finds objects of a frame, given as row, COCO class, and pixels that the rectangle is moved by."""
    assert frame.instances is not None
    masks = [torch.from_numpy(np.float32(0.9) * (frame.instances == row + 1)) for row, _, _ in found]

    def network(images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        assert images[0].max() <= 1
        boxes = torch.tensor(np.array([frame.objects.bbox[row] + moved for row, _, moved in found]))
        labels = torch.tensor([label for _, label, _ in found])
        return [{"boxes": boxes, "labels": labels, "masks": torch.stack(masks)[:, None]}]

    return InstanceSegmenter(network, "stub")


def test_each_object_gets_the_detection_that_overlaps_it_most() -> None:
    frame = painted_frame(car_boxes((-2.0, 12.0, 0.4), (2.0, 20.0, -1.4), (-6.0, 25.0, -1.4)))
    assert frame.instances is not None
    masks = LabelMasks()
    masks.segmenter = segmenter(frame, (1, CAR, 1.0), (0, CAR, 2.0), (1, CAR, 6.0), (2, PERSON, 0.0))
    found = masks.cut(frame.with_(instances=None), [0, 1, 2])
    for row in (0, 1):
        cut = found[row]
        assert cut is not None
        np.testing.assert_array_equal(cut.mask(180, 600), frame.instances == row + 1)
        assert cut.alpha.max() == 230
    assert found[2] is None  # a person is no car
    assert masks.report() == "1 of 3 objects are left out: 1 found by no mask"


def test_no_detection_at_all() -> None:
    frame = painted_frame(car_boxes((-2.0, 12.0, 0.4)))
    nothing = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 1, 9, 9),
    }
    assert InstanceSegmenter(lambda _: [nothing], "stub").cut(frame, [0]) == [None]


def test_files_of_something_else_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; expected the state dict of torchvision's maskrcnn"):
        LabelMasks(str(tmp_path / "missing.pth"))
    other = tmp_path / "other.pth"
    torch.save({"layer.weight": torch.zeros(3, 3)}, other)
    with pytest.raises(InputError, match="weights of another network"):
        InstanceSegmenter.load(other)
