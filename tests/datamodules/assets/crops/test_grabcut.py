"""GrabCut from labelled boxes, and the outlines it is seeded with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.crops.cut_out import CutOut, label_window, plausibility
from datamodules.assets.crops.grabcut import grabcut
from datamodules.assets.crops.outlines import BOX_SOLIDS, CAR_SOLIDS, nearer_outlines, solid_outline
from datamodules.geometry import NEAR, Boxes3D, canonical_projection, projected_bbox
from datamodules.scene import Frame
from tests.datamodules.assets.crops.scenes import CAMERA, car_boxes, hiding_box, iou, painted_frame


def cut(frame: Frame, row: int) -> CutOut | None:
    alpha = grabcut(frame, row)
    left, top, _, _ = label_window(frame.objects.bbox[row], frame.camera)
    return None if alpha is None else CutOut(alpha, left, top, plausibility(frame, row, alpha))


@pytest.mark.parametrize(("x", "z", "yaw"), [(-2.0, 12.0, 0.4), (1.0, 20.0, -1.4), (3.0, 35.0, 2.5)])
def test_a_painted_car_is_cut_out(x: float, z: float, yaw: float) -> None:
    frame = painted_frame(car_boxes((x, z, yaw)))
    found = cut(frame, 0)
    assert frame.instances is not None
    assert found is not None
    assert iou(found.mask(180, 600), frame.instances == 1) > 0.9
    assert found.score > 0.8
    again = grabcut(frame, 0)
    assert again is not None
    assert again.tobytes() == found.alpha.tobytes()


def test_what_nearer_labelled_cars_hide_is_left_out() -> None:
    frame = painted_frame(car_boxes((-1.5, 22.0, -1.5), (0.0, 14.0, -1.5)))
    found = cut(frame, 0)
    assert frame.instances is not None
    assert found is not None
    mask = found.mask(180, 600)
    assert iou(mask, frame.instances == 1) > 0.8
    assert np.count_nonzero(mask & (frame.instances == 2)) < 0.05 * np.count_nonzero(mask)
    assert nearer_outlines(frame, 0, CAMERA).sum() == (frame.instances == 2).sum()
    assert not nearer_outlines(frame, 1, CAMERA).any()


def test_a_mask_that_leaks_or_misses_a_part_scores_low() -> None:
    frame = painted_frame(car_boxes((-2.0, 15.0, 0.4)))
    left, top, right, bottom = label_window(frame.objects.bbox[0], frame.camera)
    assert frame.instances is not None
    true = np.where(frame.instances[top:bottom, left:right] == 1, 255, 0).astype(np.uint8)
    half, all_ = true.copy(), np.full_like(true, 255)
    half[:, : true.shape[1] // 2] = 0
    assert plausibility(frame, 0, true) > 0.95
    assert plausibility(frame, 0, half) < 0.6
    assert plausibility(frame, 0, all_) < plausibility(frame, 0, true) - 0.2
    assert plausibility(frame, 0, np.zeros_like(true)) == 0.0


def test_a_box_behind_the_camera_and_a_hidden_object_have_no_mask() -> None:
    frame = painted_frame(car_boxes((0.0, 1.0, -1.5), (0.0, 10.0, -1.5)))
    assert grabcut(frame, 0) is None
    hidden = painted_frame(Boxes3D.concatenate([car_boxes((0.0, 40.0, -1.5)), hiding_box()]))
    assert grabcut(hidden, 0) is None


@settings(max_examples=30, deadline=None)
@given(st.floats(-6, 6), st.floats(7, 50), st.floats(-3.1, 3.1))
def test_outlines_stay_within_the_projected_box(x: float, z: float, yaw: float) -> None:
    box: Boxes3D = car_boxes((x, z, yaw))
    projection = canonical_projection(CAMERA, box)[0]
    car, whole = (solid_outline(projection, solids, 180, 600) for solids in (CAR_SOLIDS, BOX_SOLIDS))
    assert not (car & ~whole).any()
    rows, columns = np.nonzero(whole)
    if len(rows):
        found = [columns.min(), rows.min(), columns.max(), rows.max()]
        assert np.abs(found - projected_bbox(CAMERA, box)[0]).max() <= 1.01


@settings(max_examples=30, deadline=None)
@given(st.floats(-4, 4), st.floats(-2, 4), st.floats(-3.1, 3.1))
def test_what_reaches_behind_the_camera_is_cut_off_at_it(x: float, z: float, yaw: float) -> None:
    box: Boxes3D = car_boxes((x, z, yaw))
    projection = canonical_projection(CAMERA, box)[0]
    whole = solid_outline(projection, BOX_SOLIDS, 180, 600)
    inside = np.random.default_rng(0).uniform(-1, 1, (20_000, 3))
    points = inside @ projection[:, :3].T + projection[:, 3]
    seen = points[points[:, 2] > NEAR]
    column, row = np.rint(seen[:, :2] / seen[:, 2:]).T
    shown = (column >= 0) & (column < 600) & (row >= 0) & (row < 180)
    assert whole[row[shown].astype(int), column[shown].astype(int)].all()
    left, top, right, bottom = projected_bbox(CAMERA, box)[0]
    rows, columns = np.nonzero(whole)
    assert ((columns >= left - 1.01) & (columns <= right + 1.01) & (rows >= top - 1.01) & (rows <= bottom + 1.01)).all()
