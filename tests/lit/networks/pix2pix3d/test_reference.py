"""Stage by stage the arrays of the official networks. Tolerances are those of the reference answers' own noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.quadrature import midpoints, ray_weights
from lit.networks.fields.softplus_decoder import softplus_density
from lit.networks.pix2pix3d.super_resolution import SuperResolution, antialiased
from lit.rendering.camera_march import FLOOR, camera_rays
from lit.rendering.samplers import importance, stratified
from lit.weights.official.pix2pix3d_names import upsampler_state
from tests.lit.networks.pix2pix3d.reference import (
    CASES,
    CLASSES,
    arrays,
    discriminator,
    far,
    generator,
    labels_of,
    require,
)

VIEWS = ((0, 0), (0, 1), (0, 2), (1, 0))  # item and camera


@pytest.fixture(autouse=True)
def needed() -> None:
    require()


def close(found: Tensor, wanted: Tensor, tolerance: float, share: float = 0.0) -> None:
    """All but a share of the pixels within a tolerance, and all within a thousandth of the range or 5e-3."""
    error = (found - wanted).abs()
    assert float((error > tolerance).float().mean()) <= share, float(error.max())
    assert float(error.max()) <= max(1e-3 * float(wanted.max() - wanted.min()), 5e-3)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_rows_encoder_planes_points_and_rays(case: str) -> None:
    network, io = generator(case), arrays(f"{case}_io")
    labels = labels_of(case, io["label_input"])
    latent = network.latents(io["z"], io["pose_input"], labels)
    assert far(latent, io["ws"]) < 1e-5
    assert far(network.latents(io["z"], io["pose_input"], labels, 0.7), io["ws_psi0.7"]) < 1e-5
    encoder, x = network.mapping.encoder, network.label_channels(labels)
    x = encoder.from_label(x)
    for number, block in enumerate(encoder.blocks):
        x = block(x)
        if number == 2:
            assert far(x[:1], io["encoder_b32"]) < 1e-5
    assert far(x, io["encoder_b8"]) < 1e-5
    network.mapping.follow(latent.mean(0), 0.995)
    assert far(network.mapping.w_avg, io["w_avg_after_update"]) < 1e-5
    planes = network.planes(latent, "const")
    flat = planes.flatten(1, 2)
    assert far(flat[:, :, 3::8, 5::8], io["planes_every8"]) < 1e-4
    assert far(flat[0, [5, 37, 70]], io["planes_full_channels_5_37_70"]) < 1e-4
    for found, name in (
        (flat.mean((2, 3)), "mean"),
        (flat.std((2, 3), False), "std"),
        (flat.abs().amax((2, 3)), "absmax"),
    ):
        assert far(found, io[f"planes_{name}"]) < 1e-4
    bare = network.planes(latent[:1], "none").flatten(1, 2)
    assert far(bare[:, :, 3::8, 5::8], io["planes_noise_none_every8"]) < 1e-4
    values = network.field(planes[:1], raw=True)(io["points"][None])
    assert far(values.density[0], io["points_sigma"][:, 0]) < 1e-3
    assert values.parts is not None
    assert values.features is not None
    parts = [values.rgb, values.features[:, :29], values.parts, values.features[:, 29:]]
    assert far(torch.cat(parts, 1)[0].t(), io["points_feature"]) < 1e-4
    for found, name in zip(camera_rays(io["rays_camera"], 8), ("origin", "direction")):
        assert far(found, io[f"rays_{name}_8"]) < 1e-6


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_pictures_of_four_views(case: str) -> None:
    """The second case's planes are noise: an importance sample moved by float32's last digit reads other values."""
    network, io = generator(case), arrays(f"{case}_io")
    planes = network.planes(io["ws"], "const")
    share = 1e-3 if case == "edge" else 0.05
    for row, (item, camera) in enumerate(VIEWS):
        one = slice(item, item + 1)
        drawn = network.pictures(planes[one], io["ws"][one], io["camera"][camera : camera + 1])
        wanted = {name: io[f"out_{name}"][row : row + 1] for name in ("image_raw", "semantic_raw", "weights_sum")}
        close(drawn.image_raw, wanted["image_raw"], 2e-4, share)
        close(drawn.labels_raw, wanted["semantic_raw"], 2e-4, share)
        close(drawn.opacity, wanted["weights_sum"], 2e-4, share)
        # Times the opacity: where nothing is, the original divides rounding errors.
        close(drawn.depth * drawn.opacity, io["out_image_depth"][row : row + 1] * wanted["weights_sum"], 5e-4, share)
        close(drawn.image, io["out_image"][row : row + 1], 5e-4, share)
        close(drawn.labels, io["out_semantic"][row : row + 1], 1e-3, share)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_other_samples_sizes_and_background(case: str) -> None:
    network, io = generator(case), arrays(f"{case}_io")
    planes, latent, camera = network.planes(io["ws"][:1], "const"), io["ws"][:1], io["camera"][2:3]
    march = network.march
    own, share = march.places, 1e-3 if case == "edge" else 0.05  # type: ignore[attr-defined]
    other = 32 if case == "edge" else 64
    settings: dict[str, dict[str, Any]] = {
        "det": {"places": lambda *_: (None, torch.linspace(0, 1, 16))},
        "half": {"places": lambda *_: (None, torch.full((16,), 0.5))},
        "coarse_only": {"fine": 0},
        "other_background": {"white": case == "seg"},
        f"res{other}": {},
    }
    for mode, changes in settings.items():
        march.__dict__.update({"places": own, "fine": 16, "white": case == "edge"} | changes)
        drawn = network.pictures(planes, latent, camera, other if mode.startswith("res") else None)
        names = {"image_raw": drawn.image_raw, "semantic_raw": drawn.labels_raw, "weights_sum": drawn.opacity}
        names |= {"image": drawn.image, "semantic": drawn.labels}
        for name, found in names.items():
            if f"cam2_{mode}_{name}" in io:
                close(found, io[f"cam2_{mode}_{name}"], 5e-4, share)
    bare = generator(case)
    bare.raw_after_first_block = False
    drawn = bare.pictures(planes, latent, camera)
    close(drawn.image_raw, io["out_image_raw_rendered"][2:3], 2e-4, share)
    close(drawn.labels_raw, io["out_semantic_raw_rendered"][2:3], 2e-4, share)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["D", "Ds"])
@torch.no_grad()
def test_logits_of_both_discriminators(case: str, kind: str) -> None:
    network, io, disc = discriminator(case, kind), arrays(f"{case}_io"), arrays(f"{case}_disc")
    image, raw = io["out_image"], io["out_image_raw"]
    real, real_raw = disc["real_image_uint8"].float() / 127.5 - 1, disc["real_raw"]
    if kind == "Ds":
        labels, labels_raw = io["out_semantic"], io["out_semantic_raw"]
        if case == "seg":
            labels, labels_raw = labels.softmax(1), labels_raw.softmax(1)
        image, raw = torch.cat([image, labels], 1), torch.cat([raw, labels_raw], 1)
        real, real_raw = torch.cat([real, disc["real_label"]], 1), torch.cat([real_raw, disc["real_label_raw"]], 1)
    poses = disc["camera_fake"]
    for count, name in ((4, ""), (2, "_first2"), (1, "_first1")):
        assert far(network(image[:count], raw[:count], poses[:count]), disc[f"{kind}_fake_logits{name}"]) < 1e-4
    assert far(network(real, real_raw, disc["pose_real"]), disc[f"{kind}_real_logits"]) < 1e-4
    clamped = network(3000 * real, 3000 * real_raw, disc["pose_real"])
    assert torch.allclose(clamped, disc[f"{kind}_real_times3000_logits"], rtol=1e-3)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_upsamplers_clamp(case: str) -> None:
    network, io, disc = generator(case), arrays(f"{case}_io"), arrays(f"{case}_disc")
    features, count = 4000 * io["out_feature"][:1], CLASSES[case]
    image = network.upsample_image(features[:, :3], features[:, :32], io["ws"][:1])
    labels = network.upsample_labels(features[:, 32 : 32 + count], features[:, 32:], io["ws"][:1])
    for found, name in ((image, "sr_times4000_image"), (labels, "sr_semantic_times4000")):
        assert torch.allclose(found.picture[:, :, ::2, ::2], disc[name], rtol=1e-4, atol=0.05)


@pytest.mark.parametrize(
    ("name", "resolution", "step"), [("sr8xdc", 512, 6), ("sr8xdc_semantic", 512, 6), ("sr4x", 256, 3)]
)
@torch.no_grad()
def test_upsamplers_that_the_two_networks_do_not_use(name: str, resolution: int, step: int) -> None:
    stored = arrays(name)
    channels = stored["state.block0.torgb.bias"].numel()
    network = SuperResolution(resolution, 32, channels, 64)
    state = {key.removeprefix("state."): value for key, value in stored.items() if key.startswith("state.")}
    network.load_state_dict(upsampler_state(state, name))
    for size in ("low", "same"):
        x = stored[f"{size}_x"]
        drawn = network(x[:, :channels], x, stored["ws"])
        assert far(drawn.picture[:, :, 1::step, 2::step], stored[f"{size}_out_every{step}"]) < 5e-4
        assert far(drawn.picture.double().mean((0, 2, 3)), stored[f"{size}_out_mean64"]) < 1e-5
        assert far(drawn.picture.double().std((0, 2, 3)), stored[f"{size}_out_std64"]) < 1e-5
        changed = 0.0 if drawn.first is None else far(drawn.first, x[:, :channels])
        assert changed == pytest.approx(float(stored[f"{size}_rgb_after"]), abs=1e-4)


@torch.no_grad()
def test_samples_weights_and_resizing_alone() -> None:
    misc = arrays("misc")
    depths, raw = misc["march_depth_in"][..., 0], misc["march_sigma"][..., 0]
    values = FieldValues(misc["march_colour"].permute(0, 3, 1, 2), raw)
    pieces, _, widths = midpoints(values, depths, softplus_density)
    weights = ray_weights(pieces.density * widths, bounded=True)
    assert far(weights, misc["march_weights"][..., 0]) < 1e-6
    for name, place in (("mid", (torch.arange(8) + 0.5) / 8), ("det", torch.linspace(0, 1, 8))):
        found = importance(place, floor=FLOOR, released=True)(depths, misc["march_weights"][..., 0])
        assert far(found, misc[f"importance_{name}"][..., 0]) < 1e-5
    near, beyond = torch.tensor([0.1]), torch.tensor([2.6 + 2.5 / 15])
    assert far(stratified(near, beyond, 16)[0][0], misc["stratified_mid"]) < 1e-6
    for size in (64, 32):
        assert far(antialiased(misc["resize_input"], size), misc[f"resize_128_to_{size}"]) < 1e-5
