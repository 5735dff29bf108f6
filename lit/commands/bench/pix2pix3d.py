"""``bench pix2pix3d``: what a label map costs, from its encoding to a view of its field.

All times are CPU times of one thread in one run, medians of repetitions. The views of ``SIDE`` x ``SIDE`` pixels are
the field's own within its cube, without upsamplers; the reference renders them as published, by stratified and
importance samples (:class:`lit.rendering.camera_march.CameraMarch`), the compiled code with its occupancy known and
early ends of rays (:mod:`lit.rendering.compiled`), once as banks and previews do, without thin fog, and once with all
of it. Quality is measured against many samples a ray.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from datamodules.errors import InputError
from lit.commands.bench.render import quality
from lit.commands.bench.timing import one_thread, seconds
from lit.commands.report import tell
from lit.networks.fields.field_values import Field, FieldValues
from lit.networks.fields.planes import DecodedPlanes
from lit.networks.fields.softplus_decoder import HIDDEN
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.posing.field_bank import FieldBox
from lit.rendering.camera_march import CameraMarch
from lit.rendering.compiled import EMPTY, CompiledField, compiled_field
from lit.rendering.orbit import Orbit
from lit.weights.official.pix2pix3d import read_pix2pix3d

SIDE = 128  # pixels of a view
REPEATS = 7
REFERENCE_REPEATS = 3
TRUTH = 256  # samples a ray
THIN = 4e-5  # opacity of a sixty-fourth of the cube's half: a half per cent through all of it
STEP = 1.0 / 64.0  # of the compiled renderer, in units of the field's cube
NOTHING = -100.0  # raw density
SOLID = 20.0  # raw density of a standard deviation of the random field
GRID = (128, 52, 56)
VIEW_COLUMNS = {"ms": 1, "ratio": 1, "psnr": 1, "mask_iou": 4, "agreement": 1}  # of the table, with their digits


def small_network() -> Pix2Pix3DGenerator:
    """The sizes of conf/model/pix2pix3d_small_edge.yaml with random weights, its fog condensed to solid pieces."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"resolution": 64, "labels": "edges", "classes": 1, "render_size": 24, "z_dim": 64}
    sizes |= {"w_dim": 64, "geometry_rows": 4, "pose_condition": False, "plane_resolution": 32, "plane_channels": 16}
    sizes |= {"channel_base": 1024, "channel_max": 64, "encoder_base": 1024, "encoder_max": 64, "features": 16}
    sizes |= {"box": 1.2, "upsampler_size": 32, "upsampler_widths": (32, 16), "hidden": HIDDEN // 2}
    network = Pix2Pix3DGenerator(CameraMarch(1.15, 2.25, 10, 8, True), **sizes).eval()
    with torch.no_grad():
        latent = network.latents(torch.zeros(1, network.z_dim), viewpoint(network), drawing(network))
        places = (torch.rand(1, 10_000, 3) - 0.5) * network.box
        density = network.field(network.planes(latent, "const"), raw=True)(places).density
        spread, mean = density.std(unbiased=False), density.mean()
        heads = network.decoder.label.heads
        heads.weight[0] *= SOLID / spread
        heads.bias[0] = -SOLID * (1 + mean / spread)  # what lies a standard deviation above is solid: a seventh
    return network


def drawing(network: Pix2Pix3DGenerator) -> Tensor:
    """A box, as a label map (1, R, R) or (1, 1, R, R) of the network's kind."""
    side = network.resolution
    if network.kind == "edges":
        edges = torch.ones(1, 1, side, side)
        edges[..., side // 3 : side // 3 + 2, side // 5 : -side // 5] = -1
        edges[..., -side // 3 : 2 - side // 3, side // 5 : -side // 5] = -1
        return edges
    labels = torch.zeros(1, side, side, dtype=torch.int64)
    labels[:, side // 3 : -side // 3, side // 5 : -side // 5] = 1
    return labels


def viewpoint(network: Pix2Pix3DGenerator) -> Tensor:
    """A camera (1, 25) between the ends of the march, obliquely above, that sees about the whole cube."""
    radius = (network.march.config["near"] + network.march.config["far"]) / 2
    return Orbit(radius, radius / network.box).camera(0.6, 0.2)[None]


def inside_cube(field: DecodedPlanes) -> Field:
    """A field whose density is raw, and nothing outside of its cube: there it would be the answer to no features."""

    def asked(points: Tensor) -> FieldValues:
        values = field(points)
        return values._replace(density=values.density.where((points.abs() <= field.box / 2).all(-1), NOTHING))

    return asked


def compiled(field: DecodedPlanes, network: Pix2Pix3DGenerator, empty: float = EMPTY) -> CompiledField | None:
    """The compiled form of a field of the network; None where its decoders are wider than the loops."""
    try:
        decoder = network.decoder.fused()
        return compiled_field(DecodedPlanes(field.planes, decoder, field.reduce, field.axes, field.box), empty)
    except InputError:
        return None


@torch.no_grad()
def measure(network: Pix2Pix3DGenerator) -> dict[str, Any]:
    """Time a network in evaluation mode (the caller has set one thread)."""
    camera = viewpoint(network)
    labels, z = drawing(network), torch.zeros(1, network.z_dim)
    latent = network.latents(z, camera, labels)
    planes = network.planes(latent, "const")
    raw, field = network.field(planes, raw=True), network.field(planes)
    settings = {**network.march.config, "white": False}
    reach = field.box * 0.75**0.5  # from the cube's middle to its corners: rays are asked all the way through
    middle = float(camera[0, [3, 7, 11]].norm())
    through = settings | {"near": max(middle - reach, 0.05), "far": middle + reach}
    truth_march = CameraMarch(**{**through, "coarse": TRUTH, "fine": 0})
    march = CameraMarch(**settings)
    published = CameraMarch(**{**through, "coarse": 48, "fine": 48})

    def view(by: CameraMarch) -> Callable[[], Tensor]:
        def render() -> Tensor:
            drawn = by(inside_cube(raw), camera, SIDE)
            return torch.cat([drawn.rgb, drawn.opacity], 1)[0].permute(1, 2, 0)

        return render

    truth = view(truth_march)()
    result: dict[str, Any] = {
        "encoder": {"ms": 1e3 * seconds(lambda: network.latents(z, camera, labels), REPEATS)},
        "planes": {"ms": 1e3 * seconds(lambda: network.planes(latent, "const"), REPEATS)},
        "pictures": {"ms": 1e3 * seconds(lambda: network.pictures(planes, latent, camera), REPEATS)},
    }
    base, reference = seconds(view(published), REFERENCE_REPEATS), view(published)()
    result["reference"] = {"ms": 1e3 * base, **quality(reference, truth)}
    own = seconds(view(march), REFERENCE_REPEATS)
    result["own samples"] = {"ms": 1e3 * own, "ratio": base / own, **quality(view(march)(), truth)}
    half = field.box / 2
    projection = FieldBox(np.eye(3), np.zeros(3), np.full(3, half)).projection(camera[0].numpy(), SIDE)
    for name, empty in {"compiled": EMPTY, "compiled, all fog": THIN}.items():
        fast = compiled(field, network, empty)
        if fast is None:
            break

        def render(fast: CompiledField = fast) -> np.ndarray:
            return fast.render(projection, (0, 0, SIDE, SIDE), step=STEP)[0]

        taken, shown = seconds(render, REPEATS), torch.from_numpy(render())
        agreement = quality(shown, reference)["psnr"]
        result[name] = {"ms": 1e3 * taken, "ratio": base / taken, **quality(shown, truth), "agreement": agreement}
        if name == "compiled":
            result["bake"] = {"ms": 1e3 * seconds(lambda fast=fast: fast.bake(GRID), REFERENCE_REPEATS)}  # type: ignore[misc]
    return result


def run(checkpoint: str | Path | None = None, out: str | Path | None = None) -> dict[str, Any]:
    """Measure, print a table and write the figures.

    Args:
        checkpoint: of a training; None takes random weights of the small recipe's sizes.
        out: JSON file to write, or None.

    Returns:
        ``encoder`` (label map and latent to w+), ``planes``, ``pictures`` (a view with its upsamplers at the network's
        sizes), and views of the field with ``SIDE`` pixels: ``reference`` (48 and 48 samples), ``own samples`` (the
        network's, in its own range) and, where its decoders fit, ``compiled`` and ``compiled, all fog``; each with
        ``ms``, the views with ``psnr`` (dB) and ``mask_iou``, all but the reference with ``ratio`` (times faster than
        it), the compiled with ``agreement``, the PSNR against the reference's view. ``bake``: a bank's grid.

    Raises:
        InputError: a file that is no pix2pix3D.
    """
    with one_thread():
        network = small_network() if checkpoint is None else read_pix2pix3d(checkpoint)
        result = measure(network)
    table = Table(title=f"bench pix2pix3d: one label map, views of {SIDE} x {SIDE}, CPU time of one thread")
    for column in ("step", "ms", "times faster", "PSNR dB", "mask IoU", "dB to reference"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for name, row in result.items():
        known = row | ({"ratio": 1.0} if name == "reference" else {})
        told = (f"{known[key]:.{digits}f}" if key in known else "" for key, digits in VIEW_COLUMNS.items())
        table.add_row(name, *told)
    tell(table, result, out)
    return result
