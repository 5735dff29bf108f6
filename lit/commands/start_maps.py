"""What commands about conditional generators begin with: a checkpoint, label maps with their cameras, an orbit."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.images import read_image
from datamodules.objects.labelled.pairs import MIDDLE, LabelledPairs
from datamodules.objects.labelled_views import Kind, edge_input, nearest_labels
from datamodules.randomness import derive
from lit.arguments import positive
from lit.editing.page_requests import StartMap
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.rendering.orbit import ORBITS, Orbit
from lit.weights.official.pix2pix3d import read_pix2pix3d


@dataclass(frozen=True)
class Start:
    """A generator and what it begins with.

    Attributes:
        network: in evaluation mode.
        maps: at least one.
        orbit: where views stand.
        names: of the classes, or None.
        seed: of latents.
    """

    network: Pix2Pix3DGenerator
    maps: list[StartMap]
    orbit: Orbit
    names: tuple[str, ...] | None
    seed: int

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def latent(self, number: int, look: int = 0) -> Tensor:
        """w+ (1, rows, w_dim) of a map, the same at every call; ``look`` tells several of one map apart."""
        start = self.maps[number]
        drawn = derive(self.seed, "look", look).standard_normal((1, self.network.z_dim))
        maps = torch.from_numpy(start.labels).to(self.device)[None]
        labels = maps.float()[:, None] if self.network.kind == "edges" else maps.long()
        z = torch.from_numpy(drawn).float().to(self.device)
        return self.network.latents(z, start.camera.to(self.device)[None], labels)


def add_start_options(parser: argparse.ArgumentParser, count: int) -> None:
    """Add the options that :func:`read_start` reads; ``count`` is the usual number of maps."""
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="of a pix2pix3D: .ckpt of a training, .safetensors or .pkl")
    add("--data", type=Path, default=None, help="folder of `prepare labelled` or `labelled-crops`")
    add("--map", type=Path, nargs="+", default=[], help="label maps as PNG: class numbers, or dark lines on white")
    add("--yaw", type=float, default=0.0, help="of the cameras of --map, degrees (default 0: along the world's -z)")
    add("--pitch", type=float, default=15.0, help="elevation of the cameras of --map, degrees (default 15)")
    add("--count", type=positive, default=count, help=f"maps to take from --data, spread over it (default {count})")
    add(
        "--orbit",
        choices=sorted(ORBITS),
        default=None,
        help="where views stand (default: car where rays end on white, else face)",
    )
    add("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    add("--seed", type=int, default=0, help="of the latents (default 0)")


def read_start(options: argparse.Namespace) -> Start:
    """The generator and its maps.

    Raises:
        InputError: no maps, or files that cannot be read or do not fit the network.
    """
    network = read_pix2pix3d(options.checkpoint)
    if not network.conditional:
        raise InputError(
            f"--checkpoint {options.checkpoint}: an unconditional network, expected one that label maps steer"
        )
    if not (math.isfinite(options.yaw) and math.isfinite(options.pitch)):
        raise InputError(f"--yaw {options.yaw} --pitch {options.pitch}: expected degrees")
    orbit = ORBITS[options.orbit or ("car" if network.march.config["white"] else "face")]
    names = None
    maps = [map_file(path, network, orbit, options.yaw, options.pitch) for path in options.map]
    if options.data is not None:
        found, names = data_maps(options.data, network, options.count)
        maps += found
    if not maps:
        raise InputError("no label map to begin with: give --data FOLDER (`prepare labelled` writes one) or --map FILE")
    for start in maps:
        if network.kind == "segmentation" and start.labels.max() >= network.classes:
            raise InputError(f"{start.name}: class {start.labels.max()}, the network knows 0 to {network.classes - 1}")
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        network = network.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device}: {str(error).splitlines()[0]}; expected cpu or cuda") from None
    return Start(network, maps, orbit, names, options.seed)


def map_file(path: Path, network: Pix2Pix3DGenerator, orbit: Orbit, yaw: float, pitch: float) -> StartMap:
    """A label map of a file, at the network's size.

    Raises:
        InputError: unreadable, not square, or lines that are lighter than their paper.
    """
    edges = network.kind == "edges"
    values = read_image(path, cv2.IMREAD_GRAYSCALE if edges else cv2.IMREAD_UNCHANGED)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.dtype != np.uint8:
        raise InputError(f"{path}: {values.dtype} of shape {values.shape}, expected a square map of 8 bits a pixel")
    if edges and values.mean() < MIDDLE:
        raise InputError(
            f"{path}: mean grey {values.mean():.0f}, expected dark lines on white paper; invert it (255 - v)"
        )
    size = network.resolution
    labels = edge_input(values, size)[0] if edges else nearest_labels(values, size).astype(np.int64)
    return StartMap(path.stem, labels, orbit.camera(math.radians(yaw), math.radians(pitch)))


def data_maps(folder: Path, network: Pix2Pix3DGenerator, count: int) -> tuple[list[StartMap], tuple[str, ...] | None]:
    """Maps of a folder with their own cameras, spread over the set, and the names of their classes.

    Raises:
        InputError: see :class:`datamodules.objects.labelled.pairs.LabelledPairs`; or other classes than the network's.
    """
    edges = network.kind == "edges"
    kind: Kind = "edge" if edges else "seg"
    size = network.resolution
    suffix = "" if (folder / "images").is_dir() else ".zip"
    pairs = LabelledPairs(folder / f"images{suffix}", folder / f"{kind}{suffix}", kind, size=size)
    if not edges and len(pairs.class_names) != network.classes:
        raise InputError(f"{folder}: {len(pairs.class_names)} classes, expected the network's {network.classes}")
    rows = np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int)).tolist()
    found = []
    for row in rows:
        values = pairs.label_map(row)
        labels = edge_input(values, size)[0] if edges else values.astype(np.int64)
        camera = brought_near(
            torch.from_numpy(pairs.cameras[row]), network.march.config["near"], network.march.config["far"]
        )
        found.append(StartMap(pairs.keys[row], labels, camera))
    return found, None if edges else pairs.class_names


def brought_near(camera: Tensor, near: float, far: float) -> Tensor:
    """A camera (25,) from which samples between two distances reach the world's origin.

    One that stands too far off, as those of real cars do, comes nearer on its way there, with so much shorter a focal
    length that what is about the origin keeps its size.
    """
    distance = float(camera[[3, 7, 11]].norm())
    if distance <= far:
        return camera
    nearer, share = camera.clone(), (near + far) / 2 / distance
    nearer[[3, 7, 11]] *= share
    nearer[[16, 20]] *= share
    return nearer
