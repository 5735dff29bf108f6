from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.base import normalise
from datamodules.errors import InputError
from datamodules.rotated_iou import rotated_iou
from datamodules.scene import Batch, collate
from detectors.base import Detector
from detectors.centernet3d import CenterNet3D, peaks
from detectors.losses import bin_centres
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
    put("sides", targets.sides)
    put("depth", torch.stack([targets.depth - np.log(25.0), torch.full_like(targets.depth, -4.0)], 1))
    put("dims", torch.log(targets.dims / net.mean_dims[targets.label]))
    rest = targets.alpha[:, None] - bin_centres(net.bins)
    logits = 10 * torch.cos(rest)
    put("yaw", torch.cat([logits, torch.stack([torch.sin(rest), torch.cos(rest)], 2).flatten(1)], 1))
    return out


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), focal=st.floats(120, 400), stride=st.sampled_from([4, 8]))
def test_perfect_outputs_decode_to_the_labels(seed: int, focal: float, stride: int) -> None:
    net = detector(stride=stride)
    batch = collate([scenes.frame(seed, view=scenes.camera(focal=focal))])
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


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_loss_falls(precision: torch.dtype) -> None:
    net, batch = detector().to(memory_format=torch.channels_last), scenes.batch(4)
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


def test_frames_without_objects_train() -> None:
    net, frame = detector(), scenes.frame(0)
    batch = collate([frame.with_(objects=frame.objects[:0])])
    losses = net.loss(net(normalise(batch), batch.projections), batch)
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    "options",
    [{"neck": "dla"}, {"neck": "dla", "deformable": True}, {"uncertainty": "gaussian"}, {"ray_channels": False}],
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


@pytest.mark.parametrize("name", ["resnet18", "dla34"])
def test_backbone_weights_from_a_classifier(tmp_path: Path, name: str) -> None:
    model = timm.create_model(name, pretrained=False)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    net = CenterNet3D(name, backbone_weights=str(tmp_path / "weights.pt"))
    wanted = {tuple(v.shape): v for v in model.state_dict().values() if v.ndim == 4}
    assert any(torch.equal(p, wanted[tuple(p.shape)]) for p in net.backbone.parameters() if tuple(p.shape) in wanted)


def test_bad_options_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="resnet19"):
        CenterNet3D("resnet19")
    with pytest.raises(InputError, match="does not exist"):
        CenterNet3D("resnet18", backbone_weights=str(tmp_path / "none.pt"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no fitting"):
        CenterNet3D("resnet18", backbone_weights=str(tmp_path / "other.pt"))
    with pytest.raises(InputError, match="stride 3"):
        detector(stride=3)
    with pytest.raises(InputError, match="Bus"):
        detector(classes=("Bus",))
    with pytest.raises(InputError, match="dpeth"):
        detector(loss_weights={"dpeth": 1.0})
