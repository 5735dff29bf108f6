"""``python -m lit show interpolation``: a film in which objects of a Lift3D checkpoint turn into each other (Fig. 6).

Latents (and, where a second stage refined them, plane residuals) are mixed linearly, sizes in their logarithm; every
film frame is baked and drawn as an asset of a bank would be, so the ends are the bank's own objects.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from datamodules.assets.contract import Asset
from datamodules.errors import InputError
from datamodules.files.atomic_files import disk_refusals, write_atomically
from datamodules.processes import track
from lit.arguments import Arguments
from lit.generators.lift3d import Lift3D
from lit.pictures.pictures import asset_view, png, stacked
from lit.weights.files import load_weights
from lit.weights.fitting import ALTERED, fit_state

FILM_SUFFIXES = (".mp4", ".webp", ".gif")
STRIP = 9  # pictures on the strip


def main(argv: list[str]) -> int:
    """``python -m lit show interpolation -c CONFIG --checkpoint FILE --out film.mp4``."""
    parser = Arguments("show interpolation", __doc__ or "")
    parser.add_argument("-c", "--config", type=Path, required=True, help="the experiment, conf/experiment/lift3d.yaml")
    parser.add_argument("--checkpoint", type=Path, required=True, help="its checkpoint, runs/lift3d/last.ckpt")
    parser.add_argument("--out", type=Path, required=True, help="film.mp4, .webp or .gif; a PNG strip goes beside it")
    parser.add_argument("--objects", type=int, nargs="+", default=[0, 1, 2, 3], help="rows of the latent table")
    parser.add_argument("--frames", type=int, default=24, help="pictures from one object to the next (default 24)")
    parser.add_argument("--turn", type=float, default=360.0, help="degrees the film turns in all; 0 keeps the yaw")
    parser.add_argument("--yaw", type=float, default=-60.0, help="yaw at the start in degrees (default -60)")
    parser.add_argument("--size", type=int, default=256, help="picture side in pixels, even (default 256)")
    parser.add_argument("--fps", type=int, default=24, help="pictures a second (default 24)")
    options = parser.parse_args(argv)
    if options.out.suffix not in FILM_SUFFIXES:
        raise InputError(f"--out {options.out}: expected a name that ends in {', '.join(FILM_SUFFIXES)}")
    for name, least in (("frames", 1), ("size", 16), ("fps", 1)):
        if getattr(options, name) < least or (name == "size" and options.size % 2):
            even = "an even number" if name == "size" else "an integer"
            raise InputError(f"--{name} {getattr(options, name)}: expected {even} >= {least}")
    model = load_lift3d(options.config, options.checkpoint)
    check_objects(model, options.objects)
    count = (len(options.objects) - 1) * options.frames + 1
    yaws = np.radians(options.yaw + options.turn * np.arange(count) / count)
    path = list(mixes(options.objects, options.frames))
    film = [
        asset_view(between(model, *mix), float(yaw), options.size)
        for mix, yaw in track(list(zip(path, yaws)), "interpolation")
    ]
    write_film(options.out, film, options.fps)
    write_atomically(options.out.with_suffix(".png"), strip(model, path, math.radians(options.yaw), options.size))
    print(f"wrote {options.out}: {count} pictures, and the strip {options.out.with_suffix('.png')} at a fixed yaw")
    return 0


def load_lift3d(config: Path, checkpoint: Path) -> Lift3D:
    """The model of an experiment with a checkpoint's (averaged) weights, on the CPU.

    Raises:
        InputError: no such file, another kind of model, or weights of other shapes.
    """
    from lit.commands.configured_model import configured_model

    model = configured_model(config)
    if not isinstance(model, Lift3D):
        raise InputError(f"{config}: its model is {type(model).__name__}, expected Lift3D, which has latents to mix")
    expected = f"the checkpoint of a training with {config}"
    content = load_weights(checkpoint, expected)
    state = content.get("state_dict") if isinstance(content, dict) else content
    fit_state(model, state, checkpoint, expected, ALTERED)
    return model.eval()


def check_objects(model: Lift3D, objects: Sequence[int]) -> None:
    """Check that there are two or more objects, all in the latent table.

    Raises:
        InputError: naming the first that is not.
    """
    if len(objects) < 2:
        raise InputError(f"--objects {' '.join(map(str, objects))}: expected two or more")
    for index in objects:
        if not 0 <= index < len(model.latents):
            raise InputError(f"--objects {index}: expected rows from 0 to {len(model.latents) - 1} of the latent table")


def mixes(objects: Sequence[int], frames: int) -> Iterator[tuple[int, int, float]]:
    """First object, second object and share of the way, for each picture; the last one is the last object."""
    for first, second in itertools.pairwise(objects):
        for step in range(frames):
            yield first, second, step / frames
    yield objects[-2], objects[-1], 1.0


@torch.no_grad()
def between(model: Lift3D, first: int, second: int, t: float) -> Asset:
    """The object a share ``t`` of the way from ``first`` to ``second``, baked."""
    planes, style = model.network(model.interpolate(first, second, t)[None])
    if model.residuals is not None:
        planes = planes + torch.lerp(model.residuals.values[first], model.residuals.values[second], t)
    dims = torch.lerp(model.dims[first].log(), model.dims[second].log(), t).exp()
    return model.asset(planes, style, f"{first}-{second}-{t:.3f}", "Car", dims.numpy())


def strip(model: Lift3D, path: Sequence[tuple[int, int, float]], yaw: float, size: int) -> bytes:
    """PNG of pictures evenly spaced over the film, at one yaw."""
    chosen = [path[i] for i in np.linspace(0, len(path) - 1, min(STRIP, len(path))).round().astype(int)]
    views = [asset_view(between(model, *mix), yaw, size) for mix in chosen]
    return png(stacked(views, len(views), 2))


def write_film(path: Path, film: Sequence[np.ndarray], fps: int) -> None:
    """Write (H, W, 3) uint8 RGB pictures as MP4 (MPEG-4 part 2), or as an animated WebP or GIF that repeats.

    Raises:
        InputError: the disk refuses, or this OpenCV writes no MP4.
    """
    with disk_refusals(path), tempfile.TemporaryDirectory() as folder:
        name = f"{folder}/film{path.suffix}"
        if path.suffix == ".mp4":
            height, width = film[0].shape[:2]
            writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
            if not writer.isOpened():
                raise InputError(f"--out {path}: this OpenCV writes no MP4, expected one that does; use .webp or .gif")
            for picture in film:
                writer.write(np.ascontiguousarray(picture[..., ::-1]))
            writer.release()
        else:
            first, *rest = [Image.fromarray(picture) for picture in film]
            first.save(name, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
        write_atomically(path, Path(name).read_bytes())
