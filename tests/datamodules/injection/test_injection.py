from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from datamodules.assets.contract import Wanted
from datamodules.errors import InputError, PlacementError
from datamodules.geometry import Boxes3D, projected_bbox
from datamodules.injection.compositing import Compositor
from datamodules.injection.injection import Injection
from datamodules.injection.occlusion import Knowledge
from datamodules.injection.placement import Placement
from datamodules.randomness import derive
from datamodules.rotated_iou import rotated_intersection
from datamodules.scene import Frame
from tests.datamodules.injection_scenes import CAMERA, OneAsset, SolidAsset, box_at, road_frame


def injection(**changes: Any) -> Injection:
    arguments: dict[str, Any] = {"placement": Placement(depth=(6, 40)), "probability": 1.0, "count": (1, 3), **changes}
    return Injection(arguments.pop("source", OneAsset()), **arguments)


def at(box: Boxes3D, **changes: object) -> Injection:
    """An injection of exactly one object at one pose."""
    return injection(source=OneAsset(SolidAsset(pose=box)), count=(1, 1), **changes)


def test_probability_zero_returns_the_very_same_frame() -> None:
    frame = road_frame(box_at(1, 15))
    for seed in range(20):
        assert injection(probability=0.0)(frame, derive(seed)) is frame


def test_the_probability_is_kept() -> None:
    frame = road_frame()
    changed = [injection(probability=0.3)(frame, derive(seed)) is not frame for seed in range(200)]
    assert 0.2 < np.mean(changed) < 0.4


def test_the_same_key_gives_the_same_bytes_and_another_key_another_picture() -> None:
    frame, inject = road_frame(box_at(1, 15), buffers=True), injection()
    one, two = inject(frame, derive(0, 3, "000007", "injection")), inject(frame, derive(0, 3, "000007", "injection"))
    other = inject(frame, derive(0, 4, "000007", "injection"))
    assert one.image.tobytes() == two.image.tobytes()
    assert one.objects.boxes.center.tobytes() == two.objects.boxes.center.tobytes()
    assert one.image.tobytes() != other.image.tobytes()
    again = pickle.loads(pickle.dumps(inject))(frame, derive(0, 3, "000007", "injection"))
    assert again.image.tobytes() == one.image.tobytes()


def test_injected_masks_fill_their_projected_boxes_and_nothing_collides() -> None:
    real = Boxes3D.concatenate([box_at(-2.5, 14.0), box_at(2.5, 24.0)])
    injected = 0
    for seed in range(25):
        frame = road_frame(real, buffers=True)
        out = injection()(frame, derive(seed))
        overlap = rotated_intersection(out.objects.boxes.bev, out.objects.boxes.bev)
        assert (overlap - np.diag(np.diag(overlap)) == 0).all()
        for row in range(len(frame.objects), len(out.objects)):
            injected += 1
            expected = projected_bbox(CAMERA, out.objects.boxes[[row]])[0]
            assert bbox_iou(out.objects.bbox[row], expected) > 0.7
            if out.objects.occlusion[row] == 0:
                area = np.prod(expected[2:] - expected[:2] + 1)
                assert out.instances is not None
                assert (out.instances == row + 1).sum() / area > 0.6
    assert injected > 25


def bbox_iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low + 1, 0))
    return float(shared / (np.prod(a[2:] - a[:2] + 1) + np.prod(b[2:] - b[:2] + 1) - shared))


def test_real_labels_stay_and_new_rows_are_complete() -> None:
    frame = road_frame(box_at(2.5, 30.0))
    out = at(box_at(-2.0, 12.0))(frame, derive(0))
    assert len(out.objects) == 2
    np.testing.assert_array_equal(out.objects.boxes.center[0], frame.objects.boxes.center[0])
    np.testing.assert_array_equal(out.objects.bbox[0], frame.objects.bbox[0])
    assert out.objects.provenance.tolist() == ["real", "solid"]
    assert out.objects.names.tolist() == ["Car", "Car"]
    assert out.objects.occlusion.tolist() == [0, 0]
    np.testing.assert_allclose(out.objects.alpha[1], out.objects.boxes.alpha[1])
    assert out.objects.truncation[1] == 0


def test_injected_objects_stand_still_where_velocities_are_known() -> None:
    frame = road_frame(box_at(1, 15))
    known = replace(frame.objects, velocity=np.array([[0.0, 8.0]]), attribute=np.array(["vehicle.moving"]))
    out = at(box_at(-2.5, 14.0))(frame.with_(objects=known), derive(0)).objects
    assert len(out) == 2
    assert out.velocity is not None
    assert out.attribute is not None
    np.testing.assert_array_equal(out.velocity, [[0.0, 8.0], [0.0, 0.0]])
    assert out.attribute[0] == "vehicle.moving"


def test_truncation_of_an_object_that_leaves_the_image() -> None:
    out = at(box_at(-5.2, 7.0), placement=Placement(map=False, depth=(4, 40)))(road_frame(), derive(0))
    assert out.objects.bbox[0, 0] == 0
    assert 0.1 < out.objects.truncation[0] < 0.9


@pytest.mark.parametrize("knowledge", ["depth", "instances", "boxes"])
def test_covered_real_objects_are_relabelled(knowledge: Knowledge) -> None:
    real = box_at(0.0, 24.0)
    frame, compositor = road_frame(real, buffers=True), Compositor(occluders=knowledge)
    hidden_share = {
        0.0: 3,
        0.7: 2,
        1.05: 1,
        3.0: 0,
    }  # lateral offset of a nearer car: expected occlusion, 3 for refused
    for offset, level in hidden_share.items():
        out = at(box_at(offset, 17.0), compositor=compositor)(frame, derive(0))
        if level == 3:
            assert out is frame
        else:
            assert len(out.objects) == 2
            assert abs(int(out.objects.occlusion[0]) - level) <= (knowledge == "boxes")
            np.testing.assert_array_equal(out.objects.bbox[0], frame.objects.bbox[0])


def test_a_new_object_behind_a_real_one_is_occluded_or_refused() -> None:
    frame = road_frame(box_at(0.0, 10.0), buffers=True)
    everywhere = Placement(map=False)
    partly = at(box_at(1.6, 16.0), placement=everywhere)(frame, derive(0))
    assert partly.objects.occlusion.tolist()[0] == 0
    assert partly.objects.occlusion.tolist()[1] in (1, 2)
    assert at(box_at(0.0, 18.0), placement=everywhere)(frame, derive(0)) is frame
    assert at(box_at(1.6, 16.0), placement=everywhere, max_hidden=0.05)(frame, derive(0)) is frame


def test_unknown_and_absent_occlusion_stay_as_they_are() -> None:
    frame = road_frame(box_at(0.0, 24.0))
    for level in (3, -1):
        old = frame.objects
        marked = frame.with_(
            objects=type(old)(old.boxes, old.names, old.bbox, old.truncation, np.array([level]), old.alpha)
        )
        out = at(box_at(1.05, 17.0), compositor=Compositor(occluders="boxes"))(marked, derive(0))
        assert out.objects.occlusion[0] == level


def test_objects_with_too_few_pixels_are_dropped() -> None:
    far = box_at(0.0, 38.0)
    assert at(far, min_pixels=2000)(road_frame(), derive(0)) is not None
    frame = road_frame()
    assert at(far, min_pixels=2000)(frame, derive(0)) is frame
    assert at(far, min_pixels=10)(frame, derive(0)) is not frame


def test_dont_care_rows_are_no_obstacle() -> None:
    frame = road_frame(box_at(2.5, 20.0))
    old = frame.objects
    nothing = Boxes3D(np.full((1, 3), -1000.0), np.full((1, 3), -1.0), np.full(1, -10.0))
    row = type(old)(
        nothing,
        np.array(["DontCare"]),
        np.array([[5.0, 5, 9, 9]]),
        -np.ones(1),
        -np.ones(1, np.int64),
        -10 * np.ones(1),
    )
    out = injection()(frame.with_(objects=type(old).concatenate([old, row])), derive(1))
    assert len(out.objects) > 2
    assert out.objects.names[1] == "DontCare"


def test_shadow_is_a_switch() -> None:
    frame = road_frame(buffers=True)
    with_shadow, without = at(box_at(0, 10))(frame, derive(0)), at(box_at(0, 10), shadow=False)(frame, derive(0))
    assert (with_shadow.image != without.image).any()
    np.testing.assert_array_equal(with_shadow.objects.bbox, without.objects.bbox)
    assert without.instances is not None
    assert frame.road is not None
    ground = (without.instances == 0) & frame.road
    near_ground = ground & (without.image == frame.image).all(0)
    assert (with_shadow.image.astype(int)[:, near_ground] <= frame.image.astype(int)[:, near_ground]).all()


def test_no_road_is_skipped_with_a_warning_or_raises() -> None:
    frame = road_frame()
    empty = frame.with_(road=np.zeros_like(frame.road))
    with pytest.warns(UserWarning, match="sample 000007: no road"):
        assert injection()(empty, derive(0)) is empty
    with pytest.raises(PlacementError, match="sample 000007"):
        injection(on_impossible="raise")(empty, derive(0))


class Various(OneAsset):
    """Gives cars and barriers in turn, and says which it has."""

    classes: tuple[str, ...] = ("Car", "barrier")

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> SolidAsset:
        assert wanted is not None
        return SolidAsset(name=self.classes[int(rng.integers(2))]) if wanted("barrier") is None else self.asset


def test_a_class_without_ground_leaves_the_others_theirs() -> None:
    frame = road_frame()
    assert frame.road is not None
    far = frame.with_(road=frame.road & (np.arange(len(frame.road))[:, None] < 54))  # past a barrier's 30 m
    with pytest.raises(PlacementError):
        Placement().survey(far, "barrier")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [injection(source=Various(), placement=Placement())(far, derive(seed)).objects for seed in range(9)]
    assert {name for objects in drawn for name in objects.names} == {"Car"}
    with pytest.warns(UserWarning, match="no road"):
        injection(source=Various())(frame.with_(road=np.zeros_like(frame.road)), derive(0))


def test_a_class_that_the_source_does_not_declare_is_named() -> None:
    source = Various(SolidAsset(name="Tram"))
    for classes in (("Car", "barrier"), ("Car",)):  # an asset of another class; a place asked for one
        source.classes = classes
        with pytest.raises(InputError, match=r"source Various: an object of class (Tram|barrier), expected .* Car"):
            injection(source=source)(road_frame(), derive(0))


def test_a_full_road_is_no_error() -> None:
    real = Boxes3D.concatenate([box_at(x, z) for x in (-3.5, -1.2, 1.2, 3.5) for z in np.arange(6, 42, 5.0)])
    frame: Frame = road_frame(real)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        injected = injection()(frame, derive(0))
    assert len(injected.objects) >= len(frame.objects)
    np.testing.assert_array_equal(injected.objects[: len(frame.objects)].boxes.center, real.center)


def test_impossible_arguments() -> None:
    with pytest.raises(InputError, match="probability"):
        injection(probability=1.5)
    with pytest.raises(InputError, match="count"):
        injection(count=(3, 1))


def test_of_several_limits_of_occlusion_each_frame_draws_one() -> None:
    """A car half hidden behind a nearer one is only there in the frames that allow it."""
    frame = road_frame(box_at(0.0, 12.0))
    half = box_at(1.1, 18.0)
    hidden = at(half, max_hidden=0.99, compositor=Compositor(occluders="boxes"))(frame, derive(0))
    assert len(hidden.objects) == 2
    assert hidden.objects.occlusion[1] > 0
    several = at(half, max_hidden=[0.05, 0.99], compositor=Compositor(occluders="boxes"))
    counts = [len(several(frame, derive(seed)).objects) for seed in range(40)]
    assert 8 < counts.count(2) < 32
    assert counts == [len(several(frame, derive(seed)).objects) for seed in range(40)]
    one = at(half, max_hidden=[0.99], compositor=Compositor(occluders="boxes"))
    assert all(len(one(frame, derive(seed)).objects) == 2 for seed in range(5))


@pytest.mark.parametrize("limit", [0.0, [], [0.5, 1.5]])
def test_limits_of_occlusion_out_of_range_are_refused(limit: float | list[float]) -> None:
    with pytest.raises(InputError, match=r"expected above 0 to 1; correct injection\.max_hidden"):
        injection(max_hidden=limit)
