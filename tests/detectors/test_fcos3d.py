"""The door to mmdetection3d: conventions, the official predict path, learning, and what is said when it is missing."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.base import normalise
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, wrap_angle
from datamodules.scene import Batch, Objects, collate
from detectors.base import Detector
from detectors.fcos3d import FCOS3D, openmmlab, read_weights
from detectors.mmdet3d_config import Size, ranges
from detectors.mmdet3d_samples import ATTRIBUTES, predictions, training_labels
from detectors.rays import slopes
from tests.detectors import scenes

pytest.importorskip("mmdet3d")
PGD, SMOKE = (
    "pgd/pgd_r101-caffe_fpn_head-gn_16xb2-1x_nus-mono3d.py",
    "smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py",
)
TINY = Size(18, 8, 16, 1, (8, 16, 32))


@pytest.fixture(autouse=True)
def same_weights() -> Iterator[None]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the backbone has frozen layers")
        yield


def view(width: int = 224, height: int = 128) -> Camera:
    return scenes.camera(width, height, focal=150.0)


def moving(batch: Batch) -> Batch:
    """The batch with velocities and attributes; the first object of each frame has neither."""
    rng = np.random.default_rng(0)
    objects = []
    for one in batch.objects:
        velocity = rng.uniform(-5, 5, (len(one), 2))
        velocity[:1] = np.nan
        attribute = np.array(["", *rng.choice(["vehicle.moving", "vehicle.stopped"], len(one) - 1)])
        objects.append(replace(one, velocity=velocity, attribute=attribute))
    return replace(batch, objects=tuple(objects))


def cars(count: int = 2, **options: Any) -> Batch:
    return scenes.batch(count, name="car", **{"view": view(), **options})


def total(net: FCOS3D, batch: Batch) -> torch.Tensor:
    losses = net.loss(net(normalise(batch), batch.projections), batch)
    return torch.stack(list(losses.values())).sum()


def random_boxes(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    center = np.column_stack([rng.uniform(-12, 12, count), rng.uniform(0, 3, count), rng.uniform(4, 50, count)])
    dims, yaw = rng.uniform(0.5, 6, (count, 3)), rng.uniform(-np.pi, np.pi, (count, 1))
    return np.concatenate([center, dims, yaw, rng.uniform(-9, 9, (count, 2))], 1)


def test_boxes_are_mmdet3d_boxes() -> None:
    """Same corners in one fixed order for all yaws, and the same yaw and alpha after the way there and back."""
    rows = random_boxes(200)
    ours = Boxes3D(rows[:, :3], rows[:, 3:6], rows[:, 6])
    theirs = openmmlab().Boxes(torch.tensor(rows, dtype=torch.float64), box_dim=9)
    corners, straight = theirs.corners.numpy(), replace(ours, yaw=np.zeros(200))
    at_zero = openmmlab().Boxes(torch.tensor(np.column_stack([rows[:, :6], np.zeros((200, 3))])), box_dim=9)
    distance = np.abs(straight.corners[0][:, None] - at_zero.corners.numpy()[0][None]).sum(-1)
    np.testing.assert_allclose(ours.corners, corners[:, distance.argmin(1)], atol=1e-5)
    camera = replace(view(), projection=view().projection * np.array([[1, 1, 1, 0]] * 3))
    found = predictions(theirs.tensor.numpy(), -np.arange(200.0), np.zeros(200, int), None, camera, ["Car"])
    np.testing.assert_allclose(found.boxes.corners, ours.corners, atol=1e-5)
    np.testing.assert_allclose(found.alpha, ours.alpha, atol=1e-5)
    assert found.velocity is not None
    np.testing.assert_allclose(found.velocity, rows[:, 7:], atol=1e-5)


def test_labels_follow_the_official_filters() -> None:
    frame = scenes.frame(0, count=6, view=view(), name="car")
    objects = frame.objects
    boxes, bbox = objects.boxes, objects.bbox.copy()
    center = boxes.center.copy()
    center[1, 2] = -5.0  # behind
    bbox[2] = [-80, 10, -20, 40]  # beside the image
    bbox[3, 2] = bbox[3, 0] + 0.5  # half a pixel wide
    names = objects.names.copy()
    names[4] = "van"
    changed = replace(objects, boxes=replace(boxes, center=center), bbox=bbox, names=names)
    labels = training_labels(changed, frame.camera, ["bus", "car"])
    assert labels.label.tolist() == [1, 1]
    np.testing.assert_allclose(labels.boxes[:, :7], np.column_stack([center, boxes.dims, boxes.yaw])[[0, 5]], rtol=1e-6)
    assert (labels.attribute == ATTRIBUTES.index("")).all()
    assert (labels.boxes[:, 7:] == 0).all()


def one_hot(value: torch.Tensor, count: int) -> torch.Tensor:
    """Sure logits of classes; ``count`` stands for none of them."""
    return torch.nn.functional.one_hot(value, count + 1)[:, :count] * 20.0 - 10.0


def tilted(camera: Camera) -> Camera:
    """The camera pitched and rolled against the level frame of its labels, as nuScenes' are."""
    pitch, roll = np.deg2rad([4.0, -5.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return replace(camera, projection=camera.projection @ block(about_x @ about_z))


def block(rotation: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = rotation
    return pose


@pytest.mark.parametrize("upright", [True, False])
def test_targets_decode_to_the_truth(upright: bool) -> None:
    """Maps made of the head's own training targets decode to the labels: yaw, velocity, attribute and all."""
    camera = scenes.camera(448, 256, 300.0)
    batch = moving(cars(view=camera if upright else tilted(camera)))
    net = FCOS3D(size=TINY).eval()
    head = net.model.bbox_head
    outputs = net(normalise(batch), batch.projections)
    levels = len(head.strides)
    sizes = [outputs[f"0.{level}"].shape[-2:] for level in range(levels)]
    points = head.get_points(sizes, torch.float32, torch.device("cpu"))
    labels, boxes, centerness, attributes = head.get_targets(points, *net.instances(batch))
    for level, (height, width) in enumerate(sizes):
        direction = head.get_direction_target(boxes[level], head.dir_offset, one_hot=False)
        code = boxes[level].clone()
        code[:, :2] *= head.strides[level]
        maps = (one_hot(labels[level], 10), code, one_hot(direction, 2), one_hot(attributes[level].clamp(max=8), 9))
        for field, value in enumerate((*maps, centerness[level].logit(1e-6))):
            maps_of = value.float().reshape(len(batch), height, width, -1)
            outputs[f"{field}.{level}"] = maps_of.permute(0, 3, 1, 2)
    for found, truth in zip(net.decode(outputs, batch), batch.objects):
        distance = np.abs(found.boxes.center[:, None] - truth.boxes.center).sum(-1)
        best = distance.argmin(0)  # of several cells that found an object, suppression leaves those that differ
        assert distance.min(0).max() < 2e-3
        np.testing.assert_allclose(found.boxes.dims[best], truth.boxes.dims, rtol=1e-4)
        np.testing.assert_allclose(wrap_angle(found.boxes.yaw[best] - truth.boxes.yaw), 0, atol=1e-4)
        assert truth.velocity is not None
        assert truth.attribute is not None
        assert found.velocity is not None
        assert found.attribute is not None
        np.testing.assert_allclose(found.velocity[best], np.nan_to_num(truth.velocity), atol=1e-4)
        assert found.attribute[best].tolist() == ["vehicle.parked", *truth.attribute[1:]]  # a car's default first
        assert found.score is not None
        assert (np.diff(found.score) <= 0).all()
        np.testing.assert_allclose(found.bbox[best], truth.bbox, atol=0.5)


def official_samples(batch: Batch) -> list[Any]:
    from mmdet3d.structures import CameraInstance3DBoxes, Det3DDataSample

    metas = [
        {
            "cam2img": np.vstack([camera.projection, [0, 0, 0, 1]]).tolist(),
            "scale_factor": (1.0, 1.0),
            "box_type_3d": CameraInstance3DBoxes,
            "img_shape": (camera.height, camera.width),
            "pad_shape": (-(-camera.height // 32) * 32, -(-camera.width // 32) * 32),
            "trans_mat": np.diag([0.25, 0.25, 1]).astype(np.float32),
        }
        for camera in batch.cameras
    ]
    return [Det3DDataSample(metainfo=meta) for meta in metas]


def write_official(path: Path, net: FCOS3D) -> None:
    """A checkpoint as mmengine writes it: weights among strings, an optimiser and log histories."""
    from mmengine.logging.history_buffer import HistoryBuffer

    scalars = {"train/loss": HistoryBuffer([1.0, 0.5], [1, 1])}
    hub = {"log_scalars": scalars, "runtime_info": {"iter": 2, "dataset_meta": {"classes": ["car"]}}}
    torch.save(
        {"meta": {"cfg": "model = dict()", "epoch": 12}, "message_hub": hub, "state_dict": net.model.state_dict()}, path
    )


@pytest.mark.parametrize(("config", "size"), [(None, TINY), (PGD, TINY), (SMOKE, None)])
def test_decode_is_the_official_prediction(config: str | None, size: Size | None, tmp_path: Path) -> None:
    """From a checkpoint in official format: our images, cameras and boxes equal mmdet3d's preprocessing and predict."""
    options: dict[str, Any] = {"size": size, **({"config": config} if config else {})}
    tests = {"test_cfg": {"score_thr": 0.0, "max_per_img": 30}}
    first = FCOS3D(**options, overrides=tests).eval()
    with torch.no_grad():
        for parameter in first.model.bbox_head.parameters():  # untrained heads say the same everywhere
            parameter.add_(torch.randn_like(parameter) * (0.05 if config != SMOKE else 0.3))
    write_official(tmp_path / "official.pth", first)
    net = FCOS3D(**options, overrides=tests, checkpoint=str(tmp_path / "official.pth")).eval()
    batch = cars(view=view(210, 100))
    with torch.no_grad():
        images = normalise(batch).contiguous()
        found = net.decode(net(images, batch.projections), batch)
        given = {"inputs": {"img": [image.flip(0) for image in batch.images]}, "data_samples": official_samples(batch)}
        prepared = net.model.data_preprocessor(given, training=False)
        ours_prepared = net.prepare(images)
        torch.testing.assert_close(ours_prepared, prepared["inputs"]["imgs"], rtol=1e-5, atol=2e-5)
        samples = net.model.predict({"imgs": ours_prepared}, prepared["data_samples"])
    for ours, sample, camera in zip(found, samples, batch.cameras):
        theirs = net.objects(sample.pred_instances_3d, camera)
        assert len(ours) == len(theirs) > 0
        for column in ("score", "bbox", "alpha", "velocity"):
            if getattr(theirs, column) is not None:
                np.testing.assert_allclose(getattr(ours, column), getattr(theirs, column), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(ours.boxes.corners, theirs.boxes.corners, rtol=1e-5, atol=1e-5)
        assert ours.names.tolist() == theirs.names.tolist()


@pytest.mark.parametrize("supervised", [True, False])
def test_every_parameter_learns(supervised: bool) -> None:
    net = FCOS3D(size=TINY, attributes=supervised, velocity=supervised)
    assert isinstance(net, Detector)
    batch = moving(cars())
    losses = net.loss(net(normalise(batch), batch.projections), batch)
    assert {"attr", "velo"} & losses.keys() == ({"attr", "velo"} if supervised else set())
    for some in (batch, replace(batch, objects=(Objects.empty(),) * len(batch))):
        net.zero_grad()
        total(net, some).backward()
        assert [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None] == []
    decoded = net.eval().decode(net(normalise(batch), batch.projections), batch)
    assert all((objects.velocity is not None) == supervised for objects in decoded)
    assert all((objects.attribute is not None) == supervised for objects in decoded)


@pytest.mark.parametrize(
    ("config", "size", "name"), [(PGD, Size(18, 8, 16, 1, (8, 16, 32, 64)), "car"), (SMOKE, None, "Car")]
)
def test_pgd_and_smoke_through_the_same_door(config: str, size: Size | None, name: str) -> None:
    batch = scenes.batch(2, view=view(), name=name)
    net = FCOS3D(config, size, attributes=False, velocity=False)
    loss = total(net, batch)
    loss.backward()
    assert torch.isfinite(loss)
    nothing = replace(batch, objects=(Objects.empty(), batch.objects[1]))
    assert torch.isfinite(total(net, nothing))
    assert torch.isfinite(total(net, replace(batch, objects=(Objects.empty(),) * 2)))
    with torch.no_grad():
        decoded = net.eval().decode(net(normalise(batch), batch.projections), batch)
    assert [isinstance(objects, Objects) for objects in decoded] == [True, True]


def test_depth_weight_scales_the_depth_alone() -> None:
    batch, losses = cars(), []
    for weight in (0.2, 1.0):
        torch.manual_seed(0)
        net = FCOS3D(size=TINY, depth_weight=weight)
        losses.append(net.loss(net(normalise(batch), batch.projections), batch))
    light, heavy = losses
    assert float(heavy["depth"].detach() / light["depth"].detach()) == pytest.approx(5.0, rel=1e-4)
    assert heavy["size"].item() == pytest.approx(light["size"].item())


def test_depths_follow_the_focal_length() -> None:
    """The same picture through twice the focal length lies twice as far; all else stays, and rays are not looked at."""
    net, batch = FCOS3D(size=TINY, focal=6.0).eval(), cars()
    narrower = torch.tensor([[[2.0], [2.0], [1.0]]])
    with torch.no_grad():
        once = net(normalise(batch), batch.projections)
        twice = net(normalise(batch), batch.projections * narrower)
    torch.testing.assert_close(twice["1.0"][:, 2], 2 * once["1.0"][:, 2])
    torch.testing.assert_close(twice["1.0"][:, 3:], once["1.0"][:, 3:])
    torch.testing.assert_close(once["1.0"][:, 2].mean().item(), 150.0 / 6.0, rtol=0.3, atol=0)
    with pytest.raises(InputError, match=r"focal 6\.0: PGDHead has other depths"):
        FCOS3D(PGD, TINY, focal=6.0)


def test_rays_are_the_slopes_of_the_cameras_rays() -> None:
    batch = cars(view=tilted(view()))
    found = slopes(batch.projections, 128, 224)
    pixels = np.array([[0.0, 0.0], [100.0, 3.0], [223.0, 127.0]])
    _, rays = batch.cameras[0].rays(pixels)
    at = found[0][:, pixels[:, 1].astype(int), pixels[:, 0].astype(int)].T.numpy()
    np.testing.assert_allclose(at, rays[:, :2] / rays[:, 2:] * [2, 6], rtol=1e-4, atol=1e-5)
    net = FCOS3D(size=replace(TINY, rays=True)).eval()
    with torch.no_grad():
        level = net(normalise(batch), batch.projections)["0.0"]
        moved = replace(batch, projections=cars().projections)
        assert not torch.allclose(net(normalise(moved), moved.projections)["0.0"], level)


def test_half_precision_changes_little() -> None:
    batch, net = cars(), FCOS3D(size=replace(TINY, depth=50, deformable=True))
    with torch.autocast("cpu", torch.bfloat16):
        low = total(net, batch)
        low.backward()
    assert low.item() == pytest.approx(total(net, batch).item(), rel=0.05)


def test_overfits_two_frames() -> None:
    net = FCOS3D(
        size=Size(18, 16, 32, 1, (8, 16, 32)), classes=["car"], attributes=False, velocity=False, depth_weight=1.0,
        overrides={"test_cfg": {"score_thr": 0.3, "nms_thr": 0.2}},
    ).to(memory_format=torch.channels_last)  # fmt: skip
    batch = collate([scenes.frame(seed, count=2, view=view(), name="car") for seed in range(2)])
    steps = 220
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, cycle_momentum=False)
    values = []
    for _ in range(steps):
        loss = total(net, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 35.0)
        optimizer.step()
        schedule.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0] / 2
    net.eval()
    with torch.no_grad():
        found = net.decode(net(normalise(batch), batch.projections), batch)
    for ours, truth in zip(found, batch.objects):
        assert len(ours) >= len(truth)
        near = np.linalg.norm(ours.boxes.center[:, None] - truth.boxes.center, axis=-1)
        best = near.argmin(0)
        assert near.min(0).max() < 1.0
        assert np.abs(wrap_angle(ours.boxes.yaw[best] - truth.boxes.yaw)).max() < 0.3
        assert np.abs(ours.boxes.dims[best] - truth.boxes.dims).max() < 0.5


@pytest.mark.slow
def test_the_official_network_builds_and_takes_its_own_weights(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="frozen layers with random weights"):
        net = FCOS3D()
    head = net.model.bbox_head
    assert net.classes[:2] == ("car", "truck")
    assert sum(p.numel() for p in net.parameters()) > 50e6
    assert [len(stage) for stage in (net.model.backbone.layer3, net.model.backbone.layer4)] == [23, 3]
    assert "DeformConv" in type(net.model.backbone.layer4[0].conv2).__name__
    assert "DeformConv" in type(head.cls_convs[-1].conv).__name__
    assert tuple(head.regress_ranges) == ranges(head.strides)
    write_official(tmp_path / "official.pth", net)
    tuned = FCOS3D(attributes=False, velocity=False, depth_weight=1.0, checkpoint=str(tmp_path / "official.pth"))
    assert tuned.model.bbox_head.train_cfg.code_weight == [1.0] * 7
    assert torch.equal(tuned.model.bbox_head.conv_cls.weight, head.conv_cls.weight)


def test_weights_of_this_suite_and_of_imagenet(tmp_path: Path) -> None:
    first = FCOS3D(size=TINY)
    torch.save(
        {"state_dict": {f"detector.{key}": value for key, value in first.state_dict().items()}}, tmp_path / "a.ckpt"
    )
    again = FCOS3D(size=TINY, checkpoint=str(tmp_path / "a.ckpt"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters()))
    backbone = {k: v for k, v in first.model.backbone.state_dict().items() if "conv_offset" not in k}
    torch.save({**backbone, "fc.weight": torch.zeros(10, 4)}, tmp_path / "b.pth")
    torch.manual_seed(1)
    other = FCOS3D(size=TINY, backbone_weights=str(tmp_path / "b.pth"))
    assert torch.equal(other.model.backbone.conv1.weight, first.model.backbone.conv1.weight)


class Trap:
    """What a harmful file would hold."""

    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def test_checkpoints_are_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, path = FCOS3D(size=TINY), tmp_path / "bad.pth"
    state = net.model.state_dict()
    for change, message in (
        (lambda s: s.pop("bbox_head.conv_cls.bias"), r"lacks 'bbox_head.conv_cls.bias', 1 in all"),
        (lambda s: s.update({"bbox_head.spare": torch.zeros(1)}), r"unknown 'bbox_head.spare', 1 in all"),
        (lambda s: s.update({"bbox_head.conv_cls.bias": torch.zeros(3)}), r"size mismatch for bbox_head.conv_cls.bias"),
    ):
        changed = dict(state)
        change(changed)
        torch.save({"state_dict": changed}, path)
        with pytest.raises(InputError, match=message):
            FCOS3D(size=TINY, checkpoint=str(path))
    with pytest.raises(InputError, match="does not exist"):
        FCOS3D(size=TINY, checkpoint=str(tmp_path / "none.pth"))
    torch.save({"state_dict": state, "extra": Trap()}, path)
    with pytest.raises(InputError, match="cannot be read safely"):
        read_weights(path)
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "fcos3d/fcos3d_r101.py"}, "did you mean 'fcos3d/fcos3d_r101-caffe-dcn_fpn_head"),
        ({"config": {"type": "FCOSMono3D"}}, "expected a model with backbone, bbox_head and data_preprocessor"),
        ({"size": TINY, "overrides": {"bbox_head": {"stacked_conv": 1}}}, "unexpected keyword argument 'stacked_conv'"),
        ({"size": replace(TINY, strides=(8, 32))}, r"size.strides \(8, 32\): expected"),
        ({"config": SMOKE, "size": TINY}, "SMOKEMono3D has no such choice"),
        ({"config": SMOKE, "depth_weight": 1.0}, "SMOKEMono3D has no code_weight"),
        ({"config": PGD, "size": TINY, "classes": ["car"]}, "mean sizes of 10 classes"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        FCOS3D(**options)
    assert "\n" not in str(refused.value)


def test_without_mmdet3d_one_line_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    openmmlab.cache_clear()
    for name in ("mmdet3d", "mmdet3d.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"^FCOS3D needs mmdetection3d, .*; run `make openmmlab`$"):
        FCOS3D()
