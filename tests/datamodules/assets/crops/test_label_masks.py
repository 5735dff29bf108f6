"""Which masks are taken, what is kept on disk, and what is said of those that fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.crops import label_masks
from datamodules.assets.crops.label_masks import GRABCUT, LabelMasks
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D
from datamodules.scene import Frame
from tests.datamodules.assets.crops.scenes import car_boxes, hiding_box, iou, painted_frame

TWO = car_boxes((-2.0, 12.0, 0.4), (2.0, 20.0, -1.4))


def test_instance_masks_come_first_and_grabcut_where_there_are_none() -> None:
    frame = painted_frame(TWO)
    assert frame.instances is not None
    for row, found in enumerate(LabelMasks().cut(frame, [0, 1])):
        assert found is not None
        assert found.score == 1.0
        np.testing.assert_array_equal(found.mask(180, 600), frame.instances == row + 1)
    for masks, seen in ((None, painted_frame(TWO, masks=False)), (GRABCUT, frame)):
        for row, found in enumerate(LabelMasks(masks).cut(seen, np.array([0, 1]))):
            assert found is not None
            assert 0.55 < found.score <= 1.0
            assert 0.9 < iou(found.mask(180, 600), frame.instances == row + 1) < 1.0


def test_a_file_keeps_no_masks(tmp_path: Path) -> None:
    (tmp_path / "masks").write_text("")
    with pytest.raises(InputError, match=r"masks: a file, expected a folder that keeps masks"):
        LabelMasks(None, str(tmp_path / "masks"))


def test_computed_masks_are_kept_for_the_same_picture_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, made = painted_frame(TWO, masks=False), []
    once = LabelMasks(None, str(tmp_path)).cut(frame, [0, 1])
    assert len(list(tmp_path.glob("000001-*.png"))) == 2
    real = label_masks.grabcut

    def counting(frame: Frame, row: int) -> np.ndarray | None:
        made.append(row)
        return real(frame, row)

    monkeypatch.setattr(label_masks, "grabcut", counting)
    again = LabelMasks(None, str(tmp_path)).cut(frame, [0, 1])
    assert made == []
    for one, two in zip(once, again):
        assert one is not None
        assert two is not None
        assert one.alpha.tobytes() == two.alpha.tobytes()
    for path in tmp_path.glob("000001-0-*.png"):
        path.write_bytes(path.read_bytes()[:50])
    LabelMasks(None, str(tmp_path)).cut(frame, [0, 1])
    assert made == [0]
    LabelMasks(None, str(tmp_path)).cut(frame.with_(image=255 - frame.image), [1])
    assert made == [0, 1]


def test_failures_are_counted_and_kept(tmp_path: Path) -> None:
    hidden = painted_frame(Boxes3D.concatenate([car_boxes((0.0, 40.0, -1.5)), hiding_box()]), masks=False)
    for _ in range(2):
        masks = LabelMasks(None, str(tmp_path))
        assert masks.cut(hidden, [0]) == [None]
        assert masks.report() == "1 of 1 objects are left out: 1 found by no mask"
    strict = LabelMasks(min_score=0.999)
    assert strict.cut(painted_frame(TWO, masks=False), [0, 1]) == [None, None]
    assert strict.report() == "2 of 2 objects are left out: 2 with a poor mask"
    stated = LabelMasks()
    assert stated.cut(painted_frame(Boxes3D.concatenate([car_boxes((0.0, 40.0, -1.5)), hiding_box()])), [0]) == [None]
    assert "without a pixel" in stated.report()
    assert LabelMasks().report() == ""
    with pytest.raises(InputError, match="expected 0 to below 1"):
        LabelMasks(min_score=1.0)
