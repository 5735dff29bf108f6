from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.assets.contract import Wanted
from datamodules.assets.mesh_assets import MeshSource
from datamodules.assets.recomposition import RecompositionSource
from datamodules.assets.visibility import Visibility, in_image
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D
from datamodules.injection import surround_injection
from datamodules.injection.compositing import Compositor, Placed
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.injection.surround_injection import Planned, SurroundInjection
from datamodules.injection.surround_site import OWN_CAR, SurroundSite
from datamodules.nuscenes import datamodule
from datamodules.nuscenes.datamodule import NuscenesDataset
from datamodules.nuscenes.samples import LazySamples, SceneMoments, read_samples, to_global
from datamodules.nuscenes.tables import Tables
from datamodules.randomness import derive
from datamodules.rotated_iou import rotated_intersection
from datamodules.scene import REAL, Frame
from datamodules.surround import moved
from tests.datamodules.injection_scenes import CAMERA, OneAsset, SolidAsset, box_at, road_frame


@pytest.fixture(scope="module")
def samples(tiny_surround: Path) -> LazySamples:
    tables = Tables(tiny_surround / "v1.0-world")
    return read_samples(tables, str(tiny_surround / "ImageSets" / "train.txt"))


@pytest.fixture(scope="module")
def reader(samples: LazySamples, tiny_surround: Path) -> NuscenesDataset:
    return NuscenesDataset(samples, tiny_surround, extras=True)


def injection(**changes: Any) -> SurroundInjection:
    arguments: dict[str, Any]
    arguments = {"placement": Placement(depth=(5, 35)), "probability": 1.0, "count": (6, 6), "min_pixels": 6, **changes}
    arguments.setdefault("compositor", Compositor(occluders="instances"))
    return SurroundInjection(MeshSource(models=3, supersample=1), **arguments)


def inject(frame: Frame, inject: SurroundInjection, pass_: int = 0) -> Frame:
    return inject(frame, derive(0, pass_, inject.key(frame), "injection"))


def places(frame: Frame) -> dict[str, np.ndarray]:
    """Global centre of each injected object in a picture, by what identifies it."""
    new = np.flatnonzero(frame.objects.provenance != REAL)
    assert frame.capture is not None
    centres = to_global(frame.objects.boxes[new], frame.capture.world)[0]
    return {f"{name} {c[0]:.2f} {c[1]:.2f}": c for name, c in zip(frame.objects.provenance[new], centres)}


def test_an_object_stands_at_one_place_in_all_pictures_of_a_sample(reader: NuscenesDataset) -> None:
    seen: dict[str, int] = {}
    for index in range(0, len(reader), 6):
        for k in range(6):
            for name in places(inject(reader.read(index + k), injection())):
                seen[name] = seen.get(name, 0) + 1
    assert len(seen) >= 4
    assert max(seen.values()) >= 2, "no object was drawn by two cameras that overlap"


def test_pictures_do_not_depend_on_their_order(reader: NuscenesDataset, samples: LazySamples) -> None:
    one = inject(reader.read(2), injection())
    fresh = NuscenesDataset(samples, reader.root, extras=True)
    for k in (5, 0):
        inject(fresh.read(k), injection())
    two = inject(fresh.read(2), injection())
    assert one.image.tobytes() == two.image.tobytes()
    assert any(
        inject(reader.read(k), injection(), pass_=1).image.tobytes()
        != inject(reader.read(k), injection()).image.tobytes()
        for k in range(6)
    )


def test_one_plan_serves_all_pictures_of_a_sample(reader: NuscenesDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept plan changes no picture: not after the other cameras', not after being pushed out."""
    alone = [inject(reader.read(k), injection()).image.tobytes() for k in range(6)]
    together, made = injection(), []
    plan = together.plan

    def counting(*words: Any) -> list[Planned]:
        made.append(words)
        return plan(*words)

    monkeypatch.setattr(together, "plan", counting)
    for k in (3, 0, 5, 1, 4, 2):
        assert inject(reader.read(k), together).image.tobytes() == alone[k]
    assert len(made) == 1
    inject(reader.read(0), together, pass_=1)
    inject(reader.read(6), together)
    assert len(made) == 3
    monkeypatch.setattr(surround_injection, "PLANS", 1)
    inject(reader.read(6), together, pass_=2)
    assert len(together._plans) == 1
    assert inject(reader.read(1), together).image.tobytes() == alone[1]


def test_the_surroundings_of_so_many_scenes_are_kept(
    samples: LazySamples, tiny_surround: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datamodule, "KEPT_SCENES", 1)
    reader = NuscenesDataset(samples, tiny_surround, extras=True)
    assert samples.scene(0) != samples.scene(len(samples) - 1)
    seen = [reader.read(index).surround for index in (0, len(reader) - 1, 0)]
    assert len(reader._kept) == 1
    assert [one.moment.token for one in seen if one] == [samples.token(index) for index in (0, len(samples) - 1, 0)]


def test_persistent_objects_keep_their_place_through_the_scene(reader: NuscenesDataset, samples: LazySamples) -> None:
    assert samples[0].scene == samples[1].scene
    keep = injection(persistent=True)
    first, second = (
        {n: c for k in range(6) for n, c in places(inject(reader.read(6 * i + k), keep)).items()} for i in (0, 1)
    )
    assert set(first) & set(second), "no object was seen twice"
    free = injection()
    others = [{n for k in range(6) for n in places(inject(reader.read(6 * i + k), free))} for i in (0, 1)]
    assert not others[0] & others[1]


def test_planned_boxes_are_clear_of_real_ones_and_of_the_car(reader: NuscenesDataset) -> None:
    for index in range(0, len(reader), 6):
        frame, plan = reader.read(index), injection(persistent=True)
        assert frame.surround is not None
        planned = plan.plan(frame.surround, frame, derive(1, index))
        boxes = Boxes3D.concatenate([box for _, box in planned])
        present = np.linalg.inv(frame.surround.moment.ego)
        for moment in frame.surround.scene:
            for real in (moment.boxes, OWN_CAR):
                assert rotated_intersection(boxes.bev, moved(real, present @ moment.ego).bev).max() < 1e-9


def test_labels_are_complete(reader: NuscenesDataset) -> None:
    for index in range(6):
        frame = reader.read(index)
        out = inject(frame, injection()).objects
        new = out.provenance != REAL
        assert out.velocity is not None
        assert out.attribute is not None
        assert (out.velocity[new] == 0).all()
        assert set(out.names[new]) <= {"car"}
        assert set(out.attribute[new]) <= {"vehicle.parked"}
        assert len(out) - new.sum() <= len(frame.objects)


def test_probability_zero_returns_the_very_same_frame(reader: NuscenesDataset) -> None:
    frame = reader.read(0)
    assert inject(frame, injection(probability=0.0)) is frame


def test_what_a_camera_hardly_sees_hides_nothing() -> None:
    """A car behind a real one shows a strip of itself; it is left out, and what the strip would hide is as before."""
    real = Boxes3D.concatenate([box_at(0, 9), box_at(2.9, 24)])
    frame, plan = road_frame(real, buffers=True), injection(compositor=Compositor(occluders="depth"), max_hidden=0.7)
    strip, behind, clear = box_at(0.9, 14), box_at(2.6, 19), box_at(-4, 20)
    layers = [(box, SolidAsset().render(CAMERA, box)) for box in (strip, behind, clear)]
    pictures = [Placed("x", "car", box, layer) for box, layer in layers if layer is not None]
    backdrop = plan.compositor.backdrop(frame)
    everything = plan.compositor.arrange(backdrop, [pictures[0], pictures[2]])
    assert everything.objects[-1].hidden_share > 0.7
    assert everything.newly_hidden[1] > 0.05
    shown = plan._shown(backdrop, [pictures[0], pictures[2]], 0.7)
    assert [o.box.center[0, 0] for o in shown.objects] == [-4.0]
    assert (shown.newly_hidden == 0).all()
    alone = plan.compositor.arrange(backdrop, pictures[1:]).objects[-1]
    both = plan._shown(backdrop, pictures, 0.7).objects[-1]
    assert both.box.center[0, 0] == alone.box.center[0, 0] == 2.6
    assert both.hidden_share == alone.hidden_share


def test_without_road_masks_only_the_corridor_is_built_on(samples: LazySamples, tmp_path: Path) -> None:
    site = SurroundSite(SceneMoments(samples[:1], tmp_path)[0], (5, 40), (-3.5, 2.5), 20.0)
    assert not site.mapped
    points = site.sample(derive(0), 50)
    assert ((points[:, 0] >= -3.5) & (points[:, 0] <= 2.5)).all()
    assert np.linalg.norm(points[:, [0, 2]], axis=1).max() <= 20.0 + 1e-9
    assert (points[:, 2] < 0).any()
    assert (points[:, 2] > 0).any()
    np.testing.assert_allclose(points[:, 1], 0, atol=0.3)  # the ground under the car


def test_with_road_masks_placed_cars_stand_on_the_road(reader: NuscenesDataset, samples: LazySamples) -> None:
    site = SurroundSite(SceneMoments(samples[:1], reader.root / "road")[0], (5, 35), (-3.5, 2.5), 20.0)
    assert site.mapped
    points = site.sample(derive(0), 20)
    assert site.drivable(points[:, [0, 2]]).all()


def test_single_camera_frames_and_bound_objects_are_refused(reader: NuscenesDataset) -> None:
    with pytest.raises(InputError, match=r"expected a nuScenes frame; use datamodules\.injection\.Injection"):
        injection()(road_frame(), derive(0))
    bound = SurroundInjection(OneAsset(SolidAsset(pose=box_at(0, 15))), probability=1.0, count=(1, 1))
    with pytest.raises(InputError, match="keep their ray in one camera"):
        inject(reader.read(0), bound)
    asking = injection()
    asking.source = Turned(SolidAsset(name="Tram"))
    with pytest.raises(InputError, match=r"source Turned: an object of class Car, expected one of its classes Tram"):
        inject(reader.read(0), asking)


def test_instance_masks_are_read_when_they_are_needed(reader: NuscenesDataset) -> None:
    for index in range(6):
        frame = reader.read(index)
        assert frame.instances is None
        assert frame.surround is not None
        assert frame.surround.instances is not None
        mask = frame.surround.instances.read()
        assert mask.shape == frame.image.shape[1:]
        assert mask.max() <= len(frame.objects)


def test_single_camera_injection_works_on_one_picture(reader: NuscenesDataset) -> None:
    """Without surround knowledge each picture can still be populated on its own."""
    frame = reader.read(0)
    plain = Injection(MeshSource(models=3, supersample=1), Placement(depth=(5, 35)), probability=1.0)
    assert (plain(frame, derive(3)).objects.provenance != REAL).any()


class Turned(OneAsset):
    """Makes its object for the place it is told."""

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> SolidAsset:
        assert wanted is not None
        proposal = wanted("Car")
        return SolidAsset("made", pose=None if proposal is None else proposal.box)


def test_an_object_made_for_its_place_stands_there(reader: NuscenesDataset) -> None:
    for index in range(0, len(reader), 6):
        plan, frame = injection(count=(2, 2)), reader.read(index)
        plan.source = Turned()
        assert frame.surround is not None
        planned = plan.plan(frame.surround, frame, derive(2, index))
        assert len(planned) == 2
        for asset, box in planned:
            assert asset.pose is not None
            np.testing.assert_allclose(box.center, asset.pose.center, atol=1e-9)  # planned for the present moment


@pytest.mark.parametrize("persistent", [False, True])
def test_limited_objects_show_no_camera_what_they_lack(reader: NuscenesDataset, persistent: bool) -> None:
    """A persistent object is asked for in all the cameras of the scene."""
    front = Visibility.arc(np.pi / 2 - 0.8, np.pi / 2 + 0.8)
    plan = injection(persistent=persistent, placement=Placement(depth=(5, 35), uniform_yaw_share=0.5))
    plan.source = OneAsset(SolidAsset(visibility=front))
    seen = 0
    for index in range(0, len(reader), 6):
        frame = reader.read(index)
        surround, capture = frame.surround, frame.capture
        assert surround is not None
        assert capture is not None
        planned = plan.plan(surround, frame, derive(3, capture.scene if persistent else index))
        for moment in surround.scene if persistent else [surround.moment]:
            pose = np.linalg.inv(moment.ego) @ surround.moment.ego
            for _, box in planned:
                here, cameras = moved(box, pose), [view.camera for view in moment.cameras]
                assert front.allows(cameras, here)[0]
                seen += sum(in_image(camera, here)[0] for camera in cameras)
    assert seen > 0


def test_recomposed_objects_stand_in_the_world_and_show_every_camera_about_their_own_side(
    reader: NuscenesDataset,
) -> None:
    source = RecompositionSource("car", min_height=6.0, depth_ratio=(0.3, 2.0))
    source.bind(reader)
    plan = injection(count=(4, 4), max_hidden=[0.5, 0.9])
    plan.source = source
    planned_objects, drawn = 0, 0
    for index in range(0, len(reader), 6):
        frame = reader.read(index)
        assert frame.surround is not None
        planned = plan.plan(frame.surround, frame, derive(4, index))
        planned_objects += len(planned)
        for asset, box in planned:
            cameras = [view.camera for view in frame.surround.moment.cameras]
            assert asset.visibility.allows(cameras, box).all()
        for k in range(6):
            out = inject(reader.read(index + k), plan)
            new = out.objects.provenance[out.objects.provenance != REAL]
            assert all(str(one).startswith("recomposition-") for one in new)
            drawn += len(new)
    assert planned_objects > 2
    assert drawn > 0
