"""Drawing at one view changes the others, keeps the look, and can be taken back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.errors import InputError
from lit.editing.session import EditingSession
from lit.editing.strokes import Stroke
from lit.rendering.orbit import ORBITS
from tests.lit.networks.pix2pix3d.small import label_maps, small

FRONT, SIDE = (ORBITS["car"].camera(yaw, 0.2) for yaw in (0.0, 1.5))
LINE = Stroke(np.array([[3.0, 8.0], [12.0, 6.0]]), 2.5, 1)
KINDS = ("segmentation", "edges")


def session(kind: str) -> EditingSession:
    maps = label_maps(kind, 1)[0].numpy()
    return EditingSession(small(kind).eval(), maps[0] if kind == "edges" else maps, torch.ones(8), FRONT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stroke_at_one_view_changes_another_and_keeps_the_appearance(kind: str) -> None:
    edited = session(kind)
    before, latent = edited.render(SIDE), edited.states[-1].latent
    edited.draw(LINE, FRONT)
    after = edited.render(SIDE)
    assert before.image.shape == (16, 16, 3)
    assert not np.array_equal(before.image, after.image)
    rows = edited.network.mapping.encoder.rows
    assert torch.equal(edited.states[-1].latent[:, rows:], latent[:, rows:])
    assert not torch.equal(edited.states[-1].latent[:, :rows], latent[:, :rows])


@pytest.mark.parametrize("kind", KINDS)
def test_undo_brings_back_every_state_exactly(kind: str) -> None:
    edited = session(kind)
    seen = [edited.render(SIDE)]
    for change in (
        lambda: edited.draw(LINE, FRONT),
        lambda: edited.draw(LINE, SIDE),
        lambda: edited.restyle(-torch.ones(8)),
    ):
        change()
        seen.append(edited.render(SIDE))
    assert not np.array_equal(seen[-1].image, seen[-2].image)
    for wanted in reversed(seen[:-1]):
        assert edited.undo()
        assert all(np.array_equal(a, b) for a, b in zip(edited.render(SIDE), wanted))
    assert not edited.undo()


def test_the_same_calls_give_the_same_pictures() -> None:
    pictures = []
    for _ in range(2):
        edited = session("segmentation")
        edited.draw(LINE, SIDE)
        pictures.append(edited.render(FRONT))
    assert all(np.array_equal(a, b) for a, b in zip(*pictures))


def test_strokes_add_up_at_one_view_and_start_from_the_rendered_map_at_another() -> None:
    edited = session("segmentation")
    first = edited.canvas(FRONT)
    np.testing.assert_array_equal(first, label_maps("segmentation", 1)[0].numpy())
    edited.draw(LINE, FRONT)
    edited.draw(Stroke(np.array([[1.0, 1.0]]), 1.5, 3), FRONT)
    canvas = edited.canvas(FRONT)
    assert canvas[1, 1] == 3
    assert canvas[7, 8] == 1
    np.testing.assert_array_equal(edited.canvas(SIDE), edited.render(SIDE).labels)
    assert edited.version == 3


def test_restyling_keeps_the_geometry() -> None:
    edited = session("edges")
    before, latent = edited.render(SIDE), edited.states[-1].latent
    edited.restyle(-torch.ones(8))
    rows = edited.network.mapping.encoder.rows
    assert torch.equal(edited.states[-1].latent[:, :rows], latent[:, :rows])
    assert not np.array_equal(before.image, edited.render(SIDE).image)


def test_wrong_input_is_one_line() -> None:
    edited = session("segmentation")
    with pytest.raises(InputError, match="brush of class 4: expected 0 to 3"):
        edited.draw(Stroke(np.zeros((1, 2)), 1.0, 4), FRONT)
    with pytest.raises(InputError, match="class 9: expected 0 to 3"):
        edited.replace(np.full((16, 16), 9), FRONT)
    with pytest.raises(InputError, match="expected \\(B, 16, 16\\)"):
        edited.replace(np.zeros((8, 8), np.int64), FRONT)
    with pytest.raises(InputError, match="expected height and width"):
        edited.replace(np.zeros((1, 16, 16), np.int64), FRONT)
    with pytest.raises(InputError, match="not finite"):
        session("edges").replace(np.full((16, 16), np.nan, np.float32), FRONT)
    assert edited.undoable == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-30, 60), st.floats(-30, 60)), min_size=1, max_size=4),
    st.floats(0.6, 6.0),
    st.integers(0, 3),
)
def test_strokes_paint_what_lies_within_their_radius_and_nothing_else(
    points: list[tuple[float, float]], radius: float, value: int
) -> None:
    stroke = Stroke(np.array(points), radius, value)
    painted = stroke.paint(np.full((24, 32), 7, np.int64), 8) != 7
    rows, columns = np.mgrid[:24, :32]
    pixels, ends = np.stack([columns, rows], -1)[..., None, :].astype(float), np.array(points)
    starts, along = ends[:-1] if len(ends) > 1 else ends, np.diff(ends, axis=0) if len(ends) > 1 else ends * 0
    share = ((pixels - starts) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
    distance = np.linalg.norm(pixels - starts - along * share.clip(0, 1)[..., None], axis=-1).min(-1)
    assert painted[distance < radius - 1].all()
    assert not painted[distance > radius + 1].any()


def test_ink_is_dark_with_a_soft_rim_and_the_rubber_takes_it_away() -> None:
    paper = np.ones((16, 16), np.float32)
    inked = Stroke(np.array([[2.0, 8.0], [13.0, 8.0]]), 1.5, 1).paint(paper, None)
    assert inked[8, 8] == -1
    assert -1 < inked[10, 8] < 1
    assert inked[2, 8] == 1
    np.testing.assert_allclose(Stroke(np.array([[2.0, 8.0], [13.0, 8.0]]), 6.0, 0).paint(inked, None), 1.0)
    for points, radius, says in (
        (np.zeros((0, 2)), 1.0, "finite points"),
        (np.full((1, 2), np.inf), 1.0, "finite points"),
        (np.zeros((1, 2)), 0.0, "radius 0"),
        (np.zeros((1, 2)), np.nan, "radius nan"),
    ):
        with pytest.raises(InputError, match=says):
            Stroke(points, radius, 0)
