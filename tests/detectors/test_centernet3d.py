from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.augment import CameraTurn, cut_window
from datamodules.base import normalise
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D
from datamodules.rotated_iou import rotated_iou
from datamodules.scene import Batch, collate
from detectors.base import Detector
from detectors.box_heads import MonoDLEHeads
from detectors.centernet3d import CenterNet3D, peaks
from detectors.losses import bin_centres
from detectors.rays import ray_channels, upright_slopes
from detectors.targets import encode
from tests.detectors import scenes

NARROW = {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16]}


def detector(**options: object) -> CenterNet3D:
    torch.manual_seed(0)
    settings_ = {"backbone_options": NARROW, "neck_channels": 16, "head_channels": 8, **options}
    return CenterNet3D("resnet18", **settings_)  # type: ignore[arg-type]


def perfect(net: CenterNet3D, batch: Batch) -> dict[str, torch.Tensor]:
    """The outputs a perfect network would give."""
    targets = encode(batch, net.classes, net.stride, net.selection, reach=0)
    frame, row, column = targets.index.unbind(1)
    height, width = batch.images.shape[2] // net.stride, batch.images.shape[3] // net.stride
    heads: Any = net.heads
    out = {name: torch.zeros(len(batch), head.out_channels, height, width) for name, head in heads.items()}
    out["heatmap"] += torch.logit(targets.heatmap.clamp(1e-4, 1 - 1e-4))

    def put(name: str, values: torch.Tensor) -> None:
        out[name][frame, :, row, column] = values

    put("offset", targets.offset)
    rest = targets.alpha[:, None] - bin_centres(net.bins)
    logits = 10 * torch.cos(rest)
    if isinstance(net.box, MonoDLEHeads):
        put("box_size", targets.sides[:, :2] + targets.sides[:, 2:])
        put("box_offset", (targets.sides[:, 2:] - targets.sides[:, :2]) / 2)
        put("depth", torch.stack([np.log(25.0) - targets.depth, torch.full_like(targets.depth, -4.0)], 1))
        put("dims", targets.dims - net.mean_dims[targets.label])
        put("yaw", torch.cat([logits, torch.remainder(rest + np.pi, 2 * np.pi) - np.pi], 1))
        return out
    put("sides", targets.sides)
    put("depth", torch.stack([targets.depth - np.log(25.0), torch.full_like(targets.depth, -4.0)], 1))
    put("dims", torch.log(targets.dims / net.mean_dims[targets.label]))
    put("yaw", torch.cat([logits, torch.stack([torch.sin(rest), torch.cos(rest)], 2).flatten(1)], 1))
    return out


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    focal=st.floats(120, 400),
    stride=st.sampled_from([4, 8]),
    heads=st.sampled_from(["centre", "monodle"]),
    turn=st.sampled_from([None, CameraTurn(0.035, 0.035, -0.035), CameraTurn(-0.035, -0.02, 0.03)]),
)
def test_perfect_outputs_decode_to_the_labels(
    seed: int, focal: float, stride: int, heads: str, turn: CameraTurn | None
) -> None:
    net = detector(stride=stride, heads=heads)
    frame = scenes.frame(seed, view=scenes.camera(focal=focal))
    size = frame.camera.width, frame.camera.height
    batch = collate([frame if turn is None else cut_window(frame, 0, 0, *size, *size, turn)])
    labels = batch.objects[0]
    cells = encode(batch, net.classes, net.stride, net.selection, reach=0).index
    kept = len(cells)
    found = net.decode(perfect(net, batch), batch)[0]
    if len({tuple(c.tolist()) for c in cells}) < kept or _touching(cells):
        return  # two centres in one neighbourhood: only one can be a peak
    assert found.score is not None
    best = found[np.argsort(-found.score)[:kept]]
    overlap = rotated_iou(labels.boxes.bev, best.boxes.bev)
    assert (np.sort(overlap.max(1))[len(labels) - kept :] > 0.99).all()
    match = overlap.argmax(0)
    assert np.allclose(best.boxes.center[:, 1], labels.boxes.center[match, 1], atol=5e-3)
    assert np.allclose(best.boxes.dims, labels.boxes.dims[match], rtol=2e-3)
    assert np.allclose(best.bbox, labels.bbox[match], atol=0.05)
    assert np.allclose(np.cos(best.alpha - labels.alpha[match]), 1, atol=1e-5)


def _touching(cells: torch.Tensor) -> bool:
    gaps = (cells[:, None, 1:] - cells[None, :, 1:]).abs().amax(2)
    gaps.fill_diagonal_(99)
    return bool((gaps <= 2).any())


def test_rays_of_a_turned_camera_are_those_of_the_level_frame() -> None:
    plain, frame = scenes.frame(0), scenes.frame(1)
    size = frame.camera.width, frame.camera.height
    tilted = cut_window(frame, 0, 0, *size, *size, CameraTurn(0.03, 0.02, 0.01))
    batch = collate([plain, tilted])
    found = ray_channels(batch.projections, 24, 80, 4)
    assert torch.equal(found[0], upright_slopes(batch.projections, 24, 80, 4)[0])
    ground = np.array([[-3.0, 1.65, 14.0]])
    pixel = tilted.camera.project(ground)[0][0]
    offset = tilted.camera.center  # rays start there, not at the frame's origin
    slope = (ground[0] - offset)[:2] / (ground[0] - offset)[2]
    row, column = np.rint((pixel[::-1] - 1.5) / 4).astype(int)
    near = found[1][:, row, column].numpy() / [2.0, 6.0]
    assert np.abs(near - slope).max() < 2.2 / 190  # half a cell
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ray_channels(batch.projections, 24, 80, 4), found)


def test_suppression_on_the_ground_keeps_a_car_behind_another() -> None:
    frame = scenes.frame(0, count=2)
    boxes = Boxes3D(np.array([[0.3, 1.65, 9.0], [1.2, 1.65, 14.5]]), frame.objects.boxes.dims, np.full(2, -np.pi / 2))
    objects = scenes.objects(frame.camera, boxes, ["Car", "Car"])
    batch = collate([frame.with_(objects=objects)])
    counts = {}
    for suppression in ("none", "image", "bev"):
        net = detector(suppression=suppression, max_overlap=0.1)
        outputs = perfect(net, batch)
        row, column = encode(batch, net.classes, 4, net.selection, reach=0).index[0, 1:].tolist()
        outputs = {name: value.clone() for name, value in outputs.items()}
        for name, value in outputs.items():  # a second peak of the first car
            value[0, :, row, column - 3] = value[0, :, row, column]
            if name == "heatmap":
                value[0, :, row, column - 3] -= 0.5
        counts[suppression] = len(net.decode(outputs, batch)[0])
    assert counts == {"none": 3, "image": 1, "bev": 2}


def test_decoded_depth_follows_the_focal_length() -> None:
    net, batch = detector(), scenes.batch(1)
    outputs = perfect(net, batch)
    longer = collate([scenes.frame(0).with_(camera=scenes.camera(focal=380.0))])
    near, far = net.decode(outputs, batch)[0], net.decode(outputs, longer)[0]
    assert np.allclose(far.boxes.center[:3, 2], 2 * near.boxes.center[:3, 2], atol=0.01)


def test_peaks_suppress_neighbours() -> None:
    heat = torch.zeros(1, 2, 6, 8)
    heat[0, 0, 2, 2], heat[0, 0, 2, 3], heat[0, 1, 2, 3] = 0.9, 0.8, 0.7
    score, label, cell = peaks(heat, 3)
    assert torch.allclose(score, torch.tensor([0.9, 0.7, 0.0]))
    assert label[:2].tolist() == [0, 1]
    assert cell[:2].tolist() == [[0, 2, 2], [0, 2, 3]]


def test_uncertain_depth_lowers_the_score() -> None:
    net, batch = detector(), scenes.batch(1)
    outputs = perfect(net, batch)
    sure = net.decode(outputs, batch)[0].score
    outputs["depth"][:, 1] = 2.0
    unsure = net.decode(outputs, batch)[0].score
    assert sure is not None
    assert unsure is not None
    assert unsure.max() < 0.5 * sure.max()


@pytest.mark.parametrize(
    ("precision", "heads"), [(torch.float32, "centre"), (torch.bfloat16, "centre"), (torch.float32, "monodle")]
)
def test_loss_falls(precision: torch.dtype, heads: str) -> None:
    net, batch = detector(heads=heads).to(memory_format=torch.channels_last), scenes.batch(4)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    history = []
    for _ in range(15):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            outputs = net(normalise(batch), batch.projections)
        total = torch.stack(list(net.loss(outputs, batch).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert all(value.dtype == torch.float32 for value in outputs.values())
    assert np.isfinite(history).all()
    assert history[-1] < 0.6 * history[0]


@pytest.mark.parametrize("heads", ["centre", "monodle"])
def test_frames_without_objects_train(heads: str) -> None:
    net, frame = detector(heads=heads), scenes.frame(0)
    batch = collate([frame.with_(objects=frame.objects[:0])])
    losses = net.loss(net(normalise(batch), batch.projections), batch)
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"heads": "monodle", "suppression": "none"},
        {"neck": "dla"},
        {"neck": "dla", "deformable": True},
        {"uncertainty": "gaussian"},
        {"ray_channels": False},
    ],
)
def test_variants_step_and_decode(options: dict[str, object]) -> None:
    net, batch = detector(**options), scenes.batch(2)
    assert isinstance(net, Detector)
    outputs = net(normalise(batch), batch.projections)
    torch.stack(list(net.loss(outputs, batch).values())).sum().backward()
    found = net.eval().decode(outputs, batch)
    assert len(found) == 2
    for objects in found:
        assert objects.score is not None
        assert (np.diff(objects.score) <= 0).all()


def test_dla34_builds_and_steps() -> None:
    net = CenterNet3D("dla34", neck="dla", neck_channels=64)
    batch = collate([scenes.frame(0, view=scenes.camera(128, 64, 80.0))])
    outputs = net(normalise(batch), batch.projections)
    assert outputs["heatmap"].shape == (1, 3, 16, 32)
    torch.stack(list(net.loss(outputs, batch).values())).sum().backward()


def test_bad_options_say_what_to_do() -> None:
    with pytest.raises(InputError, match="resnet19"):
        CenterNet3D("resnet19")
    with pytest.raises(InputError, match="stride 3"):
        detector(stride=3)
    with pytest.raises(InputError, match="Bus"):
        detector(classes=("Bus",))
    with pytest.raises(InputError, match="dpeth"):
        detector(loss_weights={"dpeth": 1.0})
