"""``prepare gan-views``: from a trained StyleGAN2, a segmenter and a source of poses to a posed image set."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.folder_lock import folder_lock
from datamodules.objects.object_images import backdrop
from datamodules.objects.posed_images import PosedImageSet
from datamodules.randomness import derive
from lit.arguments import Arguments, add_workers, positive
from lit.commands.prepare.masks import class_rows, share
from lit.commands.prepare.paths import typed_path
from lit.posing.azimuth import ViewMatcher
from lit.posing.draws import GanDraws
from lit.posing.figures import VERSION, measure_poses
from lit.posing.sources import DirectionSource, TemplateSource
from lit.posing.views import GanViews, ViewRules, check_split, object_probability
from lit.proxies.pose_regressor import PoseRegressor
from lit.proxies.torchvision_segmenter import FORM, load_segmenter, segmenter_file
from lit.weights import read_stylegan2
from lit.weights.files import digest

OBJECTS = ("object", "vehicle", "car", "truck", "bus", "van")


def main(argv: list[str]) -> int:
    """Write a posed image set of cars a GAN draws; an interrupted run goes on where it stopped."""
    options = _parse(argv)
    if options.judge is not None and options.regressor is None:
        raise InputError(f"--judge {options.judge}: needs --regressor, the first judge; give both or neither")
    with folder_lock(options.root, "a posed image set"):
        _write_views(options)
    return 0


def _write_views(options: argparse.Namespace) -> None:
    """Draw cars in the poses of the chosen source until there are enough."""
    generator = read_stylegan2(options.generator).eval()
    check_split(generator, options.pose_layers)
    source = (TemplateSource if options.poses == "templates" else DirectionSource)(options, generator)
    views = options.views or max(1, source.poses * 3 // 4)
    if views > source.poses:
        raise InputError(f"--views {views}: {source.name} has {source.poses} poses; lower it or take more poses")
    size = generator.synthesis.resolution
    behind = _backdrop(options.backdrop, size)
    segmenter = load_segmenter(options.segmenter)
    rows = class_rows(segmenter, OBJECTS, options.segmenter)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator, segmenter = generator.to(device), segmenter.to(device)
    settings = _settings(options, views) | source.settings()
    draws = GanDraws(options.root, settings)
    probability = partial(object_probability, segmenter, rows)
    codes = source.codes(generator, probability, behind)
    rules = ViewRules(options.min_confidence, options.min_area, options.min_overlap)
    makers = [
        GanViews(
            generator, probability, poses, options.pose_layers, views, rules, options.truncation, options.seed, behind,
        )
        for poses in codes
    ]  # fmt: skip
    if options.regressor is not None:
        _measure(options, makers, device)
    kept = draws.draw(makers, options.objects)
    draws.finish(makers, kept, source.kind, size, f"StyleGAN2 {settings['generator']}, poses of {source.name}")
    print(f"wrote {options.root}: {views} views of {len(kept)} cars; {draws.faults(source.poses)}")


def _measure(options: argparse.Namespace, makers: list[GanViews], device: torch.device) -> None:
    """Print how well cars stand in the poses, and write it to ``poses.json``."""
    regressor = PoseRegressor.load(options.regressor).to(device)
    matcher = ViewMatcher(PosedImageSet.load(options.judge)) if options.judge else None
    figures = []
    for maker in makers:
        judged = maker.generator, regressor, maker.poses, maker.pose_layers, maker.probability
        figures.append(measure_poses(*judged, seed=options.seed, matcher=matcher))
        print(figures[-1])
    stated = {"name": "gan-poses", "version": VERSION, "regressor": digest(options.regressor)}
    rows = [asdict(figure) for figure in figures]
    write_atomically(options.root / "poses.json", json.dumps({"rows": rows, "evaluator": stated}, indent=1))


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("prepare gan-views", "Writes posed views of cars that a StyleGAN2 draws (Lift3D's first stage).")
    add = parser.add_argument
    add("--generator", type=typed_path, required=True, help="StyleGAN2 checkpoint: .ckpt, .safetensors, .pkl or .pt")
    add(
        "--poses",
        choices=["templates", "sefa", "ganspace"],
        default="templates",
        help="their source (default templates)",
    )
    add("--segmenter", type=typed_path, required=True, help=f"of conf/experiment/object_segmenter.yaml, or {FORM}")
    add("--root", type=typed_path, required=True, help="posed image set to write")
    add("--objects", type=positive, default=40, help="cars (default 40)")
    add("--views", type=positive, default=None, help="views a car (default: three quarters of the poses)")
    add("--pose-layers", type=positive, default=8, help="rows of W+ that carry the pose (default 8, of 16 at 512 px)")
    _add_templates(parser)
    _add_directions(parser)
    add("--backdrop", default="grey", help="behind the templates: grey (default, as ObjectImages) or R,G,B of 0 to 255")
    add("--truncation", type=float, default=1.0, help="of the random codes (default 1)")
    add("--min-confidence", type=share, default=0.5, help="least confidence of a view's mask (default 0.5)")
    add("--min-area", type=share, default=0.02, help="least share of the image a mask covers (default 0.02)")
    add(
        "--judge",
        type=typed_path,
        default=None,
        help="posed image set; azimuths by matching, beside --regressor",
    )
    add("--min-overlap", type=share, default=0.0, help="least IoU with the template's silhouette (default 0: any)")
    add("--seed", type=int, default=0, help="same seed, same cars (default 0)")
    add_workers(parser, processes=False)
    return parser.parse_args(argv)


def _add_templates(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("--poses templates: views of known pose, inverted").add_argument
    add("--templates", type=typed_path, default=None, help="posed image set; objects of it give the poses")
    add(
        "--template-object",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="objects of the set that give poses; with K of them car n takes those of number n mod K (default 0)",
    )
    add("--steps", type=positive, default=1000, help="steps of the inversion (default 1000)")
    add("--batch", type=positive, default=16, help="templates inverted side by side (default 16)")
    add("--prior-weight", type=float, default=0.0, help="holds inverted codes near W's mean (default 0)")
    add("--vgg16", default=None, help="torchvision's vgg16 weights for LPIPS (default: fixed random features)")


def _add_directions(parser: argparse.ArgumentParser) -> None:
    title = "--poses sefa, ganspace: loops in the span of latent directions, labelled by a regressor"
    add = parser.add_argument_group(title).add_argument
    add(
        "--regressor",
        type=typed_path,
        default=None,
        help="of conf/experiment/pose_regressor.yaml; judges too",
    )
    add("--poses-count", type=positive, default=64, help="poses to keep, spread over the azimuth (default 64)")
    add("--directions", type=positive, default=10, help="strongest directions that span the loops (default 10)")
    add("--loops", type=positive, default=24, help="loops of 24 codes (default 24)")
    add("--loop-radius", type=float, default=1.1, help="1: the typical distance of W from its mean (default 1.1)")
    add("--label-cars", type=positive, default=4, help="random cars that a code is labelled on (default 4)")
    add("--max-spread", type=float, default=15.0, help="degrees of deviation of azimuth over the cars (default 15)")
    add("--max-gap", type=float, default=45.0, help="degrees of azimuth that may stay without a pose (default 45)")
    metavar, what = ("L", "H", "W"), "metres of every car (default: the studio's mean car)"
    add("--dims", type=float, nargs=3, default=None, metavar=metavar, help=what)
    add("--distance", type=float, default=None, help="metres of the camera (default: the diagonal fills the view)")
    add("--field-of-view", type=float, default=30.0, help="degrees of the camera (default 30, as the studio's)")


def _backdrop(text: str, size: int) -> np.ndarray:
    """What the templates stand before: (size, size, 3) or (3,), in [0, 255].

    Raises:
        InputError: neither the name nor three numbers.
    """
    if text == "grey":
        return backdrop(size, text, derive(0))
    cells = text.split(",")
    if len(cells) != 3 or not all(cell.strip().isdigit() and int(cell) < 256 for cell in cells):
        raise InputError(f"--backdrop {text}: expected grey or R,G,B with numbers from 0 to 255")
    return np.array([float(cell) for cell in cells])


def _settings(options: argparse.Namespace, views: int) -> dict[str, Any]:
    """Whatever changes a car, beside its poses; not how many there are."""
    files = {"generator": digest(options.generator), "segmenter": digest(segmenter_file(options.segmenter))}
    names = ("pose_layers", "truncation", "min_confidence", "min_area", "seed", "backdrop")
    return {**files, **{name: getattr(options, name) for name in names}, "views": views}
