"""Lift3D's released files: the fields they describe, in our frame, as assets and as part maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.assets.bank import AssetBank
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.assets.voxels.voxel_render import OPACITY_STEP
from datamodules.errors import InputError
from datamodules.objects.studio import view_projection
from lit.cli import main
from lit.rendering.bake import bake
from lit.rendering.render import render_image
from lit.weights.official.car_parts import CAR_PARTS
from lit.weights.official.lift3d import PROPORTIONS, half_turn, read_car, read_lift3d
from tests.lit.weights.official.official_states import nvidia_synthesis

SIZE, CHANNELS, W_DIM = 16, 8, 12
ROOF, WHEEL = CAR_PARTS.index("roof"), CAR_PARTS.index("front wheel")
Edit = Callable[[dict[str, Tensor]], None]


def checkpoint(parts: int = 32) -> dict[str, Tensor]:
    """A released network's state with random weights."""
    draw = torch.Generator().manual_seed(3)
    state = nvidia_synthesis(draw, {4: 12, 8: 12, 16: 8}, W_DIM, 3 * CHANNELS, "backbone.synthesis.")
    shapes = {"net.weight": (CHANNELS, CHANNELS), "net.bias": (CHANNELS,)}
    for name in ("gamma", "beta"):
        shapes |= {f"net.{name}.weight": (CHANNELS, W_DIM), f"net.{name}.bias": (CHANNELS,)}
    for name, count in (("rgb_linear", 3), ("sigma_linear", 1), ("other_linear", parts)):
        if count:
            shapes |= {f"{name}.weight": (count, CHANNELS), f"{name}.bias": (count,)}
    state |= {f"final_fc.{name}": torch.randn(shape, generator=draw) * 0.4 for name, shape in shapes.items()}
    return state | {"sigmoid_beta": torch.full((1,), 0.17)}


def latent(seed: int = 0) -> dict[str, list[Tensor]]:
    """A released car's tensors with random values."""
    draw = torch.Generator().manual_seed(seed)
    return {
        key: [
            torch.randn(1, 3, CHANNELS, SIZE, SIZE, generator=draw) * 0.2,
            torch.randn(1, 16, W_DIM, generator=draw) * 0.2,
        ]
        for key in ("lc_shape", "lc_color")
    }


def official(state: dict[str, Tensor], pair: list[Tensor], points: Tensor) -> Tensor:
    """Raw colour, signed distance and part logits (P, 4 + K) at points (P, 3) of the official frame."""
    planes, styles = pair[0][0], pair[1][0, -6:].mean(0)  # 6 rows for 16 x 16 planes
    x, y, z = points.unbind(-1)
    features = torch.zeros(len(points), CHANNELS)
    for plane, (column, row) in zip(planes, ((x, y), (x, z), (y, z))):
        grid = torch.stack([column, row], -1)[None, None]
        features += F.grid_sample(plane[None], grid, align_corners=False)[0, :, 0].T / 3
    net = {key.removeprefix("final_fc."): value for key, value in state.items() if key.startswith("final_fc.")}
    gamma = 15 * (net["net.gamma.weight"] @ styles + net["net.gamma.bias"]) + 30
    beta = 0.25 * (net["net.beta.weight"] @ styles + net["net.beta.bias"])
    hidden = torch.sin(gamma * (features @ net["net.weight"].T + net["net.bias"]) + beta)
    heads = ("rgb_linear", "sigma_linear", "other_linear")
    return torch.cat([hidden @ net[f"{head}.weight"].T + net[f"{head}.bias"] for head in heads], -1)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    torch.save(checkpoint(), tmp_path / "lift3d_ckp.pt")
    torch.save(latent(), tmp_path / "obj_latent.pth")
    return tmp_path / "lift3d_ckp.pt", tmp_path / "obj_latent.pth"


@pytest.mark.parametrize("repaint", [None, [0, 3, 17, 20, 25, 31]])
def test_the_car_is_the_official_one_turned_about_its_length(
    files: tuple[Path, Path], repaint: list[int] | None
) -> None:
    car, state, saved = read_car(files[1], read_lift3d(files[0])), checkpoint(), latent()
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) * 1.98 - 0.99
    with torch.no_grad():
        values = car.values(repaint)(points[None])
    theirs = points * torch.tensor([1.0, -1.0, -1.0])
    shape, colour = official(state, saved["lc_shape"], theirs), official(state, saved["lc_color"], theirs)
    painted = torch.ones(500, dtype=torch.bool)
    if repaint is not None:
        painted = torch.tensor([int(label) in repaint for label in shape[:, 4:].argmax(1)])
        assert painted.any()
        assert not painted.all()
    rgb = torch.sigmoid(torch.where(painted[:, None], colour[:, :3], shape[:, :3]))
    assert values.parts is not None
    torch.testing.assert_close(values.rgb[0].T, rgb, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(values.density[0], torch.sigmoid(-shape[:, 3] / 0.17) / 0.17, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(values.parts[0].T, shape[:, 4:], atol=1e-4, rtol=1e-4)


def test_baking_keeps_the_frame(files: tuple[Path, Path]) -> None:
    car = read_car(files[1], read_lift3d(files[0]))
    grid = bake(car.values(), (12, 8, 10))
    centres = [(2 * torch.arange(n) + 1) / n - 1 for n in (12, 8, 10)]
    points = torch.stack(torch.meshgrid(*centres, indexing="ij"), -1).reshape(-1, 3)
    raw = official(checkpoint(), latent()["lc_shape"], points * torch.tensor([1.0, -1.0, -1.0]))
    alpha = 1 - torch.exp(-torch.sigmoid(-raw[:, 3] / 0.17) / 0.17 * OPACITY_STEP)
    assert np.abs(grid[..., 3].reshape(-1) - alpha.numpy() * 255).max() < 1.0


def test_half_turn_is_its_own_inverse_and_no_mirror() -> None:
    planes = torch.randn(2, 3, 4, 8, 8)
    assert torch.equal(half_turn(half_turn(planes)), planes)
    assert not torch.equal(half_turn(planes), planes)


def test_planes_from_latents_match_the_backbone(files: tuple[Path, Path]) -> None:
    """The network's own synthesis, noise aside, against a reference of its first block."""
    state, field = checkpoint(), read_lift3d(files[0])
    for key in [key for key in state if key.endswith("noise_strength")]:
        state[key] = torch.zeros(())
    from tests.lit.weights.official.stylegan2_reference import nvidia_image, nvidia_layer, upfirdn

    rows = torch.randn(1, 16, W_DIM)
    used = rows[:, -6:]
    name, x, planes = "backbone.synthesis", state["backbone.synthesis.b4.const"][None], None
    index = 0
    for size in (4, 8, 16):
        for layer in ("conv0", "conv1"):
            if f"{name}.b{size}.{layer}.weight" in state:
                x = nvidia_layer(state, f"{name}.b{size}.{layer}", x, used[:, index], up=layer == "conv0")
                index += 1
        added = nvidia_image(state, f"{name}.b{size}.torgb", x, used[:, index])
        planes = added if planes is None else upfirdn(planes, 2, (2, 1), 4.0) + added
    with torch.no_grad():
        found, style = field(rows)
    torch.testing.assert_close(found.flatten(1, 2), planes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(style, used.mean(1))


def known_car(tmp_path: Path) -> tuple[Path, Path]:
    """An ellipsoid whose colour is its official position: red to the front, green upwards, blue along z; the upper half
    is roof, the lower half front wheel.
    """
    state = {key: value * (0 if key.startswith("final_fc") else 1) for key, value in checkpoint().items()}
    state["final_fc.net.weight"] = torch.eye(CHANNELS) / 30  # gamma is 30: hidden = sin(feature)
    state["final_fc.rgb_linear.weight"] = 4 * torch.eye(CHANNELS)[1:4]
    state["final_fc.sigma_linear.weight"] = torch.eye(CHANNELS)[:1]
    state["final_fc.other_linear.weight"][ROOF, 2] = 1.0
    state["final_fc.other_linear.weight"][WHEEL, 2] = -1.0
    state["final_fc.other_linear.bias"][:] = -5.0
    state["final_fc.other_linear.bias"][[ROOF, WHEEL]] = 0.0
    state["sigmoid_beta"] = torch.full((1,), 0.01)
    axis = (2 * torch.arange(SIZE) + 1) / SIZE - 1
    row, column = torch.meshgrid(axis, axis, indexing="ij")
    planes = torch.zeros(1, 3, CHANNELS, SIZE, SIZE)
    planes[0, 0, 0], planes[0, 2, 0] = column**2 + row**2 - 1, row**2 - 1  # z from plane (y, z); outside both fade to 0
    state["final_fc.sigma_linear.bias"][:] = float(np.sin(1.4 / 3))  # the surface is where x^2 + y^2 + z^2 = 0.6
    planes[0, 0, 1], planes[0, 0, 2], planes[0, 1, 3] = 3 * column, 3 * row, 3 * row
    torch.save({"g": state}, tmp_path / "known.pt")
    torch.save({key: [planes, torch.zeros(1, 16, W_DIM)] for key in ("lc_shape", "lc_color")}, tmp_path / "known.pth")
    return tmp_path / "known.pt", tmp_path / "known.pth"


def test_front_top_and_side_land_where_they_belong(tmp_path: Path) -> None:
    paths = known_car(tmp_path)
    field = read_lift3d(paths[0])
    car = read_car(paths[1], field)
    with torch.no_grad():
        red, green, blue = car.values()(torch.eye(3)[None] * 0.5).rgb[0]  # columns: points on +x, +y, +z of our frame
    assert red.argmax() == 0  # the front stays at +x
    assert green.argmin() == 1  # ours has y down
    assert blue.argmin() == 2  # and therefore z the other way: a rotation, no mirror
    projection = torch.from_numpy(view_projection(np.array(PROPORTIONS), 90.0, 0.0, 64))
    image = render_image(car.values(), projection, 64, 64)
    rgba, labels = image.rgba, image.labels
    rows = torch.nonzero(rgba[..., 3] > 0.5)[:, 0]
    middle = int(rows.float().mean())
    assert set(labels.unique().tolist()) == {0, ROOF, WHEEL}
    assert (labels[rows.min() : middle - 2].unique() == torch.tensor([0, ROOF])).all()  # roof above, wheels below
    assert (labels[middle + 3 : rows.max()].unique() == torch.tensor([0, WHEEL])).all()
    assert torch.equal(labels > 0, rgba[..., 3] > 0.5)


def test_the_command_writes_a_bank_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, car = known_car(tmp_path)
    arguments = ["prepare", "released", "--checkpoint", str(network), "--latent", str(car)]
    arguments += ["--root", str(tmp_path / "bank"), "--shape", "32", "12", "14"]
    arguments += ["--pictures", str(tmp_path / "views"), "--views", "2", "--size", "48"]
    assert main([*arguments, "--repaint", "roof", "3"]) == 0
    bank = AssetBank(tmp_path / "bank")
    asset = bank[0]
    assert len(bank) == 1
    assert isinstance(asset, VoxelAsset)
    np.testing.assert_allclose(asset.dims, [3.88, 3.88 * 0.7 / 1.8, 3.88 * 0.78 / 1.8])
    assert asset.grid[16, 6, 7, 3] > 200  # solid in the middle, empty at the corners
    assert asset.grid[0, 0, 0, 3] == 0
    assert sorted(path.name for path in (tmp_path / "views").iterdir()) == ["known-00.png", "known-01.png"]
    picture = cv2.imread(str(tmp_path / "views" / "known-00.png"))
    assert picture is not None
    assert picture.shape == (48, 96, 3)
    assert main([*arguments, "--repaint", "windsheild"]) == 2
    assert "did you mean 'windshield'" in capsys.readouterr().err


def test_other_files_are_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    network, car = files
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="sigmoid_beta is missing"):
        read_lift3d(tmp_path / "other.pt")
    with pytest.raises(InputError, match="lc_shape is no list"):
        read_car(network, read_lift3d(network))
    wide = latent()
    wide["lc_color"][0] = torch.zeros(1, 3, CHANNELS, 2 * SIZE, 2 * SIZE)
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(InputError, match=r"lc_color has planes \(1, 3, 8, 32, 32\).* expected \(1, 3, 8, 16, 16\)"):
        read_car(tmp_path / "wide.pth", read_lift3d(network))
    with pytest.raises(InputError, match="part 40"):
        read_car(car, read_lift3d(network)).values([40])
    flat = {**checkpoint(), "final_fc.net.weight": torch.zeros(4)}
    torch.save(flat, tmp_path / "flat.pt")
    with pytest.raises(InputError, match="another structure than Lift3D's released network"):
        read_lift3d(tmp_path / "flat.pt")
    broken = checkpoint()
    broken["backbone.synthesis.b8.conv0.weight"] = torch.zeros(3, 3)
    torch.save(broken, tmp_path / "broken.pt")
    with pytest.raises(InputError, match=r"blocks\.1\.conv0\.weight has the shape"):
        read_lift3d(tmp_path / "broken.pt")


def test_a_network_without_parts(tmp_path: Path, files: tuple[Path, Path]) -> None:
    torch.save(checkpoint(parts=0), tmp_path / "plain.pt")
    car = read_car(files[1], read_lift3d(tmp_path / "plain.pt"))
    with torch.no_grad():
        assert car.values()(torch.zeros(1, 4, 3)).parts is None
