from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datamodules.assets.bank import AssetBank
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, canonical_projection, wrap_angle
from datamodules.objects.photos.photo import PhotoBatch, PhotoViews
from datamodules.objects.photos.studio_photos import StudioPhotos
from lit.callbacks.bank_writer import BankWriter
from lit.callbacks.single_view_scores import SingleViewScores
from lit.generators.g3dr import G3DR, in_box, mirrored, photographed_from
from lit.generators.single_view_objective import LossWeights, SingleViewObjective
from lit.generators.upsampler import Upsampler
from lit.generators.view_schedule import NormalTurns, ViewSchedule, WideningTurns
from lit.losses.perceptual_levels import PerceptualLevels
from lit.networks.fields.field_values import FieldValues
from lit.networks.g3dr.network import SingleViewNetwork
from lit.networks.g3dr.unet import PlaneUnet
from lit.rendering.depth_regularisation import DepthKernel
from lit.rendering.two_pass import TwoPass
from tests.lit.posed_boxes import write_posed_boxes

SIZE = 16


def small(
    views: ViewSchedule | None = None, total: int = 1000, options: dict[str, Any] | None = None, **objective: Any
) -> G3DR:
    torch.manual_seed(0)
    network = SingleViewNetwork(PlaneUnet(SIZE, 4, 2, 8, (1, 2)), hidden=8)
    settings: dict[str, Any] = {
        "samples": TwoPass(8, 8),
        "perceptual": PerceptualLevels(network="convolutions"),
    } | objective
    settled: dict[str, Any] = {"lr": 3e-3, "bake_shape": (16, 8, 8), **(options or {})}
    return G3DR(network, SingleViewObjective(**settings), views, total, **settled)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=4, views=6, size=SIZE, relief=2.0)


def data(folder: Path, **changes: Any) -> StudioPhotos:
    settings = {"batch_size": 3, "flip": False, "val_every": 4, "val_views": 2, "steps_per_epoch": 4, "create": False}
    made = StudioPhotos(str(folder), **(settings | changes))
    made.setup()
    return made


def batch(folder: Path, step: int = 0) -> PhotoBatch:
    photos: PhotoBatch = data(folder).train_dataloader().dataset[(0, step)]
    return photos


CANONICAL = ViewSchedule(cap=0.0)
NOVEL = ViewSchedule(cap=0.5, slope=1e9)


def gradients(model: G3DR, photos: PhotoBatch) -> tuple[dict[str, float], list[Tensor]]:
    losses = model.losses(photos)
    found = torch.autograd.grad(sum(losses.values()), list(model.network.parameters()), allow_unused=True)  # type: ignore[arg-type]
    return {name: float(value.detach()) for name, value in losses.items()}, [g for g in found if g is not None]


def test_regularisation_changes_gradients_in_the_photographs_view_alone(boxes: Path) -> None:
    photos = batch(boxes)
    plain, scaled = (gradients(small(CANONICAL, regularisation=k), photos) for k in (None, DepthKernel()))
    assert plain[0] == scaled[0]
    assert not all(torch.equal(a, b) for a, b in zip(plain[1], scaled[1]))
    alpha = gradients(small(CANONICAL, regularisation=DepthKernel(), side="alpha"), photos)
    for density_side, alpha_side in zip(scaled[1], alpha[1]):
        torch.testing.assert_close(density_side, alpha_side, rtol=2e-3, atol=1e-5)
    found = []
    for kernel in (None, DepthKernel()):
        model = small(NOVEL, regularisation=kernel)
        model.images_seen = 500
        seeds = (step for step in range(20))
        kinds: dict[int, str] = {}
        for step in seeds:
            draw = torch.Generator().manual_seed(step)
            kinds[step] = model.views.kind(model.progress, draw)
        chosen = next(step for step, kind in kinds.items() if kind == "novel")
        losses, grads = gradients(model, PhotoBatch(**{**vars(photos), "seed": chosen}))
        assert set(losses) == {"smoothness", "novel_perceptual"}
        found.append(grads)
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_every_loss_has_its_switch(boxes: Path) -> None:
    photos = batch(boxes)
    assert set(small(CANONICAL).losses(photos)) == {"reconstruction", "depth", "perceptual"}
    weights = LossWeights(opacity=1.0, near_depth=0.1, perceptual=0.0)
    model = small(CANONICAL, weights=weights, regularisation=DepthKernel(), guided=1.0, squared=True)
    losses = model.losses(photos)
    assert set(losses) == {"reconstruction", "depth", "opacity", "near_depth"}
    assert all(torch.isfinite(value) and value >= 0 for value in losses.values())
    late = small(CANONICAL, weights=LossWeights(opacity=1.0), late=True)
    first = late.losses(photos)
    assert "perceptual" not in first
    assert float(first["opacity"].detach()) == 0.0
    late.images_seen = 600
    second = late.losses(photos)
    early = small(CANONICAL, weights=LossWeights(opacity=1.0)).losses(photos)
    torch.testing.assert_close(2 * second["perceptual"], early["perceptual"])
    torch.testing.assert_close(second["opacity"], early["opacity"])


def test_hidden_pixels_teach_nothing(boxes: Path) -> None:
    photos = batch(boxes)
    blocked = {**vars(photos), "known": torch.zeros_like(photos.known)}
    model = small(CANONICAL, weights=LossWeights(opacity=1.0))
    losses, grads = gradients(model, PhotoBatch(**blocked))
    assert all(value == 0 for value in losses.values())
    assert all(not gradient.any() for gradient in grads)


def test_a_mirrored_view_shows_a_symmetric_object_as_the_photograph_does(boxes: Path) -> None:
    """A field that is symmetric in the box: both projections draw one picture, through different sides of it."""
    photos, pixels, side = batch(boxes), TwoPass(64, 8), torch.tensor([0.0])

    def in_cube(points: Tensor) -> FieldValues:
        back = torch.linalg.inv(photos.frame[0]).float()
        placed = points @ back[:3, :3].T + back[:3, 3]  # in the box
        x, y, z = placed.unbind(-1)
        rgb = torch.stack([0.5 + 0.4 * x, 0.5 + 0.4 * y, 0.5 + 0.4 * torch.where(side > 0, z, z.abs())], 1)
        return FieldValues(rgb, 30 * (0.8 - placed.square().sum(-1)))

    own = pixels.draw(in_cube, photos.projection[0], SIZE, SIZE)
    other = pixels.draw(in_cube, mirrored(photos.projection, photos.frame)[0], SIZE, SIZE)
    assert float((own.rgb - other.rgb).abs().mean()) < 2e-3
    assert float((own.depth - other.depth).abs().mean()) < 2e-2
    side += 1
    wrong = pixels.draw(in_cube, mirrored(photos.projection, photos.frame)[0], SIZE, SIZE)
    assert float((own.rgb - wrong.rgb).abs().mean()) > 0.005
    assert own.opacity.max() > 0.9


def test_mirrored_views_need_boxes(boxes: Path) -> None:
    model = small(ViewSchedule(cap=0.0, mirrored=1.0))
    assert "reconstruction" in model.losses(batch(boxes))
    with pytest.raises(InputError, match="expected photographs of known boxes"):
        model.losses(PhotoBatch(**{**vars(batch(boxes)), "framed": False}))


def test_schedule_and_turns_follow_paper_and_code() -> None:
    schedule, draw = ViewSchedule(), torch.Generator().manual_seed(0)
    assert [schedule.novel_share(t) for t in (0.0, 0.1, 0.2, 0.9)] == pytest.approx([0, 0.2, 0.4, 0.4])
    kinds = [schedule.kind(1.0, draw) for _ in range(2000)]
    assert kinds.count("novel") / 2000 == pytest.approx(0.4, abs=0.04)
    assert "mirrored" not in kinds
    yaw, pitch = NormalTurns().draw(5000, 0.5, draw)
    assert (float(yaw.std()), float(pitch.std())) == pytest.approx((0.3, 0.15), rel=0.05)
    for progress, divisor in ((0.0, 24), (1 / 6, 15), (1 / 3, 6), (1.0, 6)):
        yaw, pitch = WideningTurns().draw(5000, progress, draw)
        assert float(yaw.abs().max()) == pytest.approx(math.pi / divisor, rel=0.02)
        assert float(pitch.abs().max()) == pytest.approx(math.pi / 18, rel=0.02)
    with pytest.raises(InputError, match="views: cap"):
        ViewSchedule(cap=0.7)


def test_some_steps_learn_the_photographs(boxes: Path) -> None:
    model = small(ViewSchedule(cap=0.2), 240, regularisation=DepthKernel(s2=0.1), weights=LossWeights(opacity=0.5))
    optimizer, dataset = model.configure_optimizers(), data(boxes, steps_per_epoch=60).train_dataloader().dataset
    with torch.no_grad():
        before = float(sum(small(CANONICAL).losses(batch(boxes)).values()))
    for step in range(60):
        optimizer.zero_grad()
        sum(model.losses(dataset[(0, step)]).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    model.views = CANONICAL
    with torch.no_grad():
        after = float(sum(value for name, value in model.losses(batch(boxes)).items() if name != "opacity"))
    assert after < 0.5 * before


def test_a_symmetric_lookup_makes_symmetric_objects(boxes: Path) -> None:
    photos = batch(boxes)
    plain, mirrored_sides = small(CANONICAL), small(CANONICAL, options={"symmetric": True})
    assert all(torch.isfinite(value) for value in mirrored_sides.losses(photos).values())
    for asset, other in zip(mirrored_sides.predict_step(photos, 0), plain.predict_step(photos, 0)):
        grid = np.asarray(asset.grid).astype(int)  # its last axis but one goes from side to side
        assert np.abs(grid - grid[:, :, ::-1]).max() <= 1
        unlike = np.asarray(other.grid).astype(int)
        assert np.abs(unlike - unlike[:, :, ::-1]).max() > 1
    with pytest.raises(InputError, match=r"model\.symmetric: expected photographs of known boxes"):
        mirrored_sides.losses(PhotoBatch(**{**vars(photos), "framed": False}))


@given(st.floats(-8, 8), st.floats(4, 40), st.floats(-3.1, 3.1))
def test_assets_say_from_where_they_were_photographed(x: float, z: float, yaw: float) -> None:
    camera = Camera(np.array([[700.0, 0, 300, 0], [0, 700, 90, 0], [0, 0, 1, 0]]), 600, 180)
    box = Boxes3D.single(np.array([x, 1.6, z]), np.array([3.9, 1.5, 1.6]), yaw)
    projection = torch.from_numpy(canonical_projection(camera, box)[0])
    own, other = photographed_from(projection, torch.eye(4), box.dims[0])
    assert wrap_angle(own[0] - box.alpha[0]) == pytest.approx(0, abs=1e-6)
    flipped = projection @ torch.diag(torch.tensor([1.0, 1, -1, 1], dtype=torch.float64))  # left for right
    seen = photographed_from(flipped, torch.eye(4), box.dims[0])[0]
    assert np.exp(1j * seen) == pytest.approx(np.exp(1j * other), abs=1e-6)


def test_only_who_learns_of_symmetry_shows_the_other_side(boxes: Path) -> None:
    photos = batch(boxes)
    for views, sides in ((CANONICAL, 1), (ViewSchedule(mirrored=0.5), 2)):
        assert [asset.seen.shape for asset in small(views).predict_step(photos, 0)] == [(sides, 2)] * len(photos)


def test_an_upsampler_stands_behind_the_renders(boxes: Path, tmp_path: Path) -> None:
    network = Upsampler(features=4, groups=1, blocks=1, reduction=2, bicubic=True)
    checkpoint = {"hyper_parameters": dict(network.hparams), "state_dict": network.state_dict()}
    torch.save(checkpoint, tmp_path / "rcan.ckpt")
    large = batch(write_posed_boxes(tmp_path / "large", objects=4, views=6, size=2 * SIZE, relief=2.0))
    model = small(CANONICAL, options={"upsampler": str(tmp_path / "rcan.ckpt")})
    assert set(model.state_dict()) == set(small(CANONICAL).state_dict())
    shrunk = model.own_size(large)
    assert shrunk.images.shape == (3, 3, SIZE, SIZE)
    point = torch.tensor([0.2, -0.3, 0.1, 1.0], dtype=torch.float64)
    u, v = ((projected := batch_.projection[0] @ point)[:2] / projected[2] for batch_ in (large, shrunk))
    torch.testing.assert_close((u + 0.5) / 2, v + 0.5)
    assert all(torch.isfinite(value) for value in model.losses(shrunk).values())
    one = PhotoBatch(**{k: v[:1] if hasattr(v, "__len__") else v for k, v in vars(large).items()})
    views = model.turned(one, [0.0, 0.3])
    assert views.rgba.shape == (2, 2 * SIZE, 2 * SIZE, 4)
    assert views.depth is not None
    assert views.depth.shape == (2, 2 * SIZE, 2 * SIZE)
    assert (views.rgba[..., :3] <= views.rgba[..., 3:] + 1e-6).all()
    with torch.no_grad():
        for parameter in model.upsampler[0].network.tail[-1].parameters():
            parameter.zero_()  # leaves cubic interpolation
    bare = small(CANONICAL).turned(model.own_size(one), [0.0])
    found = model.turned(one, [0.0]).rgba[0]
    low = torch.nn.functional.avg_pool2d(found.permute(2, 0, 1), 2).permute(1, 2, 0)
    assert float((low - bare.rgba[0]).abs().mean()) < 0.03
    with pytest.raises(InputError, match=r"a checkpoint of conf/experiment/rcan.yaml"):
        small(options={"upsampler": str(tmp_path / "nowhere.ckpt")})


def test_density_of_a_baked_field_is_that_of_the_box() -> None:
    frame = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64))

    def cube(points: Tensor) -> FieldValues:
        return FieldValues(points.transpose(1, 2), torch.ones(points.shape[:2]) * 6)

    values = in_box(cube, frame)(torch.ones(1, 2, 3))
    assert values.density.tolist() == [[3.0, 3.0]]
    assert values.rgb.flatten().tolist() == [0.5] * 6


def test_a_run_scores_views_and_writes_a_bank(boxes: Path, tmp_path: Path) -> None:
    scores = SingleViewScores([0.0, 30.0], "random:0", folder=str(tmp_path))
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    settings |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "default_root_dir": tmp_path}
    trainer = pl.Trainer(**settings, max_epochs=1, callbacks=[scores, BankWriter(str(tmp_path / "bank"))])
    model, photos = small(regularisation=DepthKernel()), data(boxes, val_every=2)
    trainer.fit(model, datamodule=photos)
    logged = trainer.callback_metrics
    assert model.images_seen == 12
    for name in ("psnr_photo", "depth_accuracy", "nfs_yaw_0", "nfs_yaw_30", "fid_yaw_0", "fid_yaw_30"):
        assert math.isfinite(float(logged[f"val/{name}"])), name
    assert 1 <= float(logged["val/nfs_yaw_0"]) <= 64
    assert any(name.startswith("val/psnr_to_") for name in logged)
    assert (tmp_path / "single_view_val.png").is_file()
    assert (tmp_path / "yaw_val.png").is_file()
    table = json.loads((tmp_path / "yaw_val.json").read_text())
    assert table["yaw"] == [0, 30]
    assert table["fid"][1] == pytest.approx(float(logged["val/fid_yaw_30"]), rel=1e-5)
    trainer.predict(model, datamodule=photos, return_predictions=False)
    bank = AssetBank(str(tmp_path / "bank"))
    assert len(bank) == 4
    views = next(iter(photos.val_dataloader()))
    assert isinstance(views, PhotoViews)
    drawn = model.draw(views.photo, views.photo.projection)
    again = model.turned(views.photo, [0.0, 0.4])
    torch.testing.assert_close(drawn.rgba[0], again.rgba[0], atol=1e-4, rtol=0)
    assert not np.allclose(again.rgba[0], again.rgba[1])


def test_weights_of_other_settings_are_refused(tmp_path: Path) -> None:
    """Levels and the decoder's rate change what the same weights make, and no shape tells them."""
    model = small()
    content: dict[str, Any] = {}
    model.on_save_checkpoint(content)
    model.on_load_checkpoint(content)
    file = tmp_path / "one.ckpt"
    torch.save({"state_dict": model.state_dict(), **content}, file)
    small(options={"pretrained": str(file)})
    changes: list[dict[str, Any]] = [{"levels": 1}, {"decoder_rate": 20.0}, {"depth_input": False}]
    for change in changes:
        other, (name,) = SingleViewNetwork(PlaneUnet(SIZE, 4, 2, 8, (1, 2)), hidden=8, **change), change
        with pytest.raises(InputError, match=rf"one\.ckpt: trained with {name} .*; set model\.network\.{name}"):
            G3DR(other, pretrained=str(file))
        with pytest.raises(InputError, match=f"the checkpoint: trained with {name}"):
            G3DR(other).on_load_checkpoint(content)
    old = {key: value for key, value in content.items() if key == "images_seen"}
    G3DR(other).on_load_checkpoint(old)  # states nothing


def test_numbers_out_of_range_are_one_line() -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: TwoPass(1, 8), "samples coarse 1, fine 8: expected at least 2 and 1"),
        (lambda: small(spread=0.0), "spread 0, guided_reach 0.05: expected above 0"),
        (lambda: small(total=0), "total_images 0: expected at least 1"),
        (lambda: small(options={"bake_shape": (0, 8, 8)}), r"bake_shape \[0, 8, 8\]"),
        (lambda: small(options={"clip_gradients": -1.0}), "clip_gradients -1.0: expected"),
        (lambda: WideningTurns(share=0.0), "turns: start 24, end 6, share 0"),
    ]
    for made, says in cases:
        with pytest.raises(InputError, match=says) as caught:
            made()
        assert "\n" not in str(caught.value)


def test_mirrored_photographs_say_what_turns_them_off(boxes: Path) -> None:
    photos = PhotoBatch(**{**vars(batch(boxes)), "framed": False})
    for model in (small(ViewSchedule(cap=0.0, mirrored=1.0)), small(CANONICAL, options={"symmetric": True})):
        with pytest.raises(InputError, match=r"set data\.flip to false"):
            model.losses(photos)
