"""Commands ``prepare weights`` (official checkpoints to safetensors) and ``prepare released`` (Lift3D's car)."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.objects.studio import view_projection
from lit.arguments import Arguments, positive
from lit.callbacks.bank_writer import hash_of
from lit.commands.prepare.paths import typed_path
from lit.rendering.bake import bake
from lit.rendering.render import render_image
from lit.weights.files import digest
from lit.weights.official.car_parts import part_colours, part_indices
from lit.weights.official.lift3d import PROPORTIONS, ReleasedCar, read_car, read_lift3d
from lit.weights.official.nvidia import read_networks
from lit.weights.official.pix2pix3d import is_pix2pix3d, pix2pix3d_of
from lit.weights.official.stylegan2_files import file_kind, read_stylegan2, write_state, write_stylegan2

ELEVATION = 15.0  # degrees, of the pictures
SHAPE = (128, 52, 56)  # voxels along length, height, width


def weights(argv: list[str]) -> int:
    """Convert a checkpoint to safetensors and say what it held."""
    parser = Arguments("prepare weights", "Converts an official checkpoint to safetensors; runs nothing from it.")
    parser.add_argument("--checkpoint", type=typed_path, required=True, help="NVIDIA .pkl, rosinality .pt, our .ckpt")
    parser.add_argument("--out", type=typed_path, required=True, help="file to write, .safetensors")
    parser.add_argument("--resolution", type=positive, help="what a StyleGAN2 generator has to be (default: any)")
    parser.add_argument("--class-label", type=int, help="class that a generator of classes draws from now on")
    options = parser.parse_args(argv)
    if options.out.suffix != ".safetensors":
        raise InputError(f"--out {options.out}: expected a name that ends in .safetensors")
    networks = read_networks(options.checkpoint) if file_kind(options.checkpoint) == "pickle" else {}
    for record in networks.values():
        print(record.describe())
    chosen = networks.get("G_ema")
    if chosen is not None and is_pix2pix3d(chosen):
        network = pix2pix3d_of(chosen, options.checkpoint)
        print(f"pix2pix3D: every tensor has its place; {network.kind}, {network.resolution} pixels")
    if chosen is not None and "mapping.w_avg" not in chosen.state:
        config = {"arguments": chosen.arguments, "settings": chosen.settings}
        write_state(options.out, chosen.state, chosen.kind, config)
        print(f"wrote {options.out}: G_ema's state under the official names, its arguments in the metadata")
        return 0
    generator = read_stylegan2(options.checkpoint, options.resolution, options.class_label)
    write_stylegan2(options.out, generator)
    print(f"wrote {options.out}: StyleGAN2 generator, {', '.join(f'{k} {v}' for k, v in generator.config.items())}")
    return 0


def released(argv: list[str]) -> int:
    """Bake Lift3D's released cars into an asset bank, and picture their parts."""
    parser = Arguments("prepare released", "Bakes cars of Lift3D's release into an asset bank.")
    parser.add_argument("--checkpoint", type=typed_path, required=True, help="lift3d_ckp.pt")
    parser.add_argument("--latent", type=typed_path, required=True, nargs="+", help="obj_latent.pth, one file a car")
    parser.add_argument("--root", type=typed_path, required=True, help="bank to write")
    parser.add_argument("--repaint", nargs="*", help="parts that lc_color paints, by name or index (default: all)")
    parser.add_argument("--length", type=float, default=3.88, help="metres; the other sizes follow (default 3.88)")
    parser.add_argument(
        "--shape", type=positive, nargs=3, default=SHAPE, help="voxels along length, height, width (default 128 52 56)"
    )
    parser.add_argument("--licence", default="unknown", help="recorded in the bank")
    parser.add_argument("--pictures", type=typed_path, help="folder for views with their part labels (default: none)")
    parser.add_argument("--views", type=positive, default=8, help="views a car (default 8)")
    parser.add_argument("--size", type=positive, default=256, help="their side in pixels (default 256)")
    options = parser.parse_args(argv)
    if not 0.1 <= options.length <= 30:
        raise InputError(f"--length {options.length}: expected metres between 0.1 and 30")
    field = read_lift3d(options.checkpoint)
    if options.pictures is not None and not field.decoder.parts:
        raise InputError(f"--pictures: {options.checkpoint} has no part logits to draw; leave the option out")
    repaint = None if options.repaint is None else part_indices(options.repaint)
    shape: tuple[int, int, int] = tuple(options.shape)
    dims = np.array(PROPORTIONS) / PROPORTIONS[0] * options.length
    config = {"repaint": repaint, "shape": list(shape), "length": options.length}
    with AssetBankWriter(
        options.root, "lift3d", hash_of(config), digest(options.checkpoint), options.licence
    ) as writer:
        for number, path in enumerate(options.latent):
            car = read_car(path, field)
            name = path.stem if len(options.latent) == 1 else f"{path.stem}-{number:03d}"
            grid = bake(car.values(repaint), shape)
            writer.write(VoxelAsset(name, "Car", dims, grid), source=path.name)
            if options.pictures is not None:
                for view in range(options.views):
                    azimuth = 360.0 * view / options.views
                    picture = part_picture(car, dims, azimuth, options.size, repaint)
                    write_atomically(options.pictures / f"{name}-{view:02d}.png", picture)
    print(f"bank: {options.root}, {len(options.latent)} released car(s), part logits {field.decoder.parts}")
    return 0


def part_picture(
    car: ReleasedCar, dims: np.ndarray, azimuth: float, size: int, repaint: list[int] | None = None
) -> bytes:
    """PNG of one view (size, 2 size): colour on white beside part labels.

    Args:
        car: the car.
        dims: (3,) length, height, width in metres.
        azimuth: degrees, 0 looks at the front.
        size: pixels.
        repaint: parts with the second object's colour, None for all.
    """
    projection = torch.from_numpy(view_projection(dims, azimuth, ELEVATION, size))
    image = render_image(car.values(repaint), projection, size, size)
    colour = (image.rgb + 1 - image.opacity[..., None]).clamp(0, 1).mul(255).round().byte().numpy()
    pair = np.concatenate([colour, part_colours(car.field.decoder.parts)[image.labels.numpy()]], 1)
    return cv2.imencode(".png", np.ascontiguousarray(pair[..., ::-1]))[1].tobytes()
