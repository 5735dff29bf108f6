"""``prepare kitti`` checks a data set's tree; ``prepare world``, ``surround`` and ``posed`` write synthetic data.

``road-masks`` and ``empty-frames`` write what a segmenter finds in a KITTI folder; ``gan-views`` writes a posed image
set of a GAN's cars. ``weights`` converts official checkpoints to safetensors; ``released`` bakes Lift3D's released car.
"""

from __future__ import annotations

import importlib
import os
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from datamodules.errors import DatasetNotFound, InputError
from lit.arguments import Arguments, closest


def main(argv: list[str]) -> int:
    """``python -m lit prepare`` and one of :data:`TARGETS`."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m lit prepare {'|'.join(TARGETS)} ...\n\n" + (__doc__ or ""))
        return 0
    if argv[0] not in TARGETS:
        raise InputError(f"prepare {argv[0]}: expected one of {', '.join(TARGETS)}{closest(argv[0], TARGETS)}")
    return TARGETS[argv[0]](argv[1:])


def kitti(argv: list[str]) -> int:
    """Check a KITTI object tree and say what is there and what is missing; status 2 for a broken one."""
    parser = Arguments("prepare kitti", "Checks a KITTI object detection tree; names what is missing.")
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds training/ and ImageSets/")
    options = parser.parse_args(argv)
    from datamodules.kitti.datamodule import check_tree

    try:
        report = check_tree(options.root)
    except DatasetNotFound as error:
        print(error.tree)
        raise
    print(report)
    return 2 if report.problems else 0


def _writer(command: str, description: str) -> Arguments:
    """The options that all commands share which write a folder."""
    parser = Arguments(command, description)
    parser.add_argument("--root", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")
    return parser


def world(argv: list[str]) -> int:
    """Write a procedural road world as a KITTI folder."""
    parser = _writer("prepare world", "Writes a procedural road world as a true KITTI folder.")
    parser.add_argument("--train", type=positive, default=400, help="training frames (default 400)")
    parser.add_argument("--val", type=positive, default=300, help="validation frames (default 300)")
    parser.add_argument("--width", type=positive, default=320, help="image width in pixels (default 320)")
    parser.add_argument("--height", type=positive, default=96, help="image height in pixels (default 96)")
    options = parser.parse_args(argv)
    from datamodules.world.road_world import write_world

    write_world(
        options.root,
        seed=options.seed,
        train=options.train,
        val=options.val,
        width=options.width,
        height=options.height,
        workers=options.workers,
    )
    print(f"wrote {options.root}: {options.train} training and {options.val} validation frames")
    return 0


def surround(argv: list[str]) -> int:
    """Write a procedural world seen by six cameras as a nuScenes folder."""
    parser = _writer("prepare surround", "Writes a procedural road world as a true nuScenes folder of six cameras.")
    parser.add_argument("--train-scenes", type=positive, default=6, help="training scenes (default 6)")
    parser.add_argument("--val-scenes", type=positive, default=2, help="validation scenes (default 2)")
    parser.add_argument("--samples", type=positive, default=6, help="samples a scene, at 2 Hz (default 6, at most 40)")
    parser.add_argument("--width", type=positive, default=224, help="image width in pixels (default 224)")
    parser.add_argument("--height", type=positive, default=128, help="image height in pixels (default 128)")
    options = parser.parse_args(argv)
    from datamodules.world.surround.world import write_surround_world

    write_surround_world(
        options.root,
        seed=options.seed,
        train_scenes=options.train_scenes,
        val_scenes=options.val_scenes,
        samples_per_scene=options.samples,
        width=options.width,
        height=options.height,
        workers=options.workers,
    )
    scenes = f"{options.train_scenes} training and {options.val_scenes} validation scenes"
    print(f"wrote {options.root}: {scenes} of {options.samples} samples")
    return 0


def posed(argv: list[str]) -> int:
    """Write posed views of the studio's cars, the training data of generators."""
    parser = _writer("prepare posed", "Writes posed object images: RGBA, depth, normals, parts and cameras.")
    parser.add_argument("--objects", type=positive, default=40, help="cars (default 40)")
    parser.add_argument("--views", type=positive, default=50, help="views a car (default 50)")
    parser.add_argument("--size", type=positive, default=64, help="image side in pixels (default 64)")
    options = parser.parse_args(argv)
    from datamodules.objects.studio import write_posed_images

    write_posed_images(
        options.root,
        objects=options.objects,
        views=options.views,
        size=options.size,
        seed=options.seed,
        workers=options.workers,
    )
    print(f"wrote {options.root}: {options.views} views of {options.objects} cars")
    return 0


def positive(text: str) -> int:
    """An integer >= 1, as an argparse type.

    Raises:
        ArgumentTypeError: for anything else.
    """
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"got '{text}', expected an integer >= 1")
    return int(text)


def later(module: str, function: str) -> Callable[[list[str]], int]:
    """A command whose module, which needs torch, is imported when it runs."""

    def run(argv: list[str]) -> int:
        return int(getattr(importlib.import_module(module), function)(argv))

    return run


TARGETS: dict[str, Callable[[list[str]], int]] = {
    "kitti": kitti,
    "world": world,
    "surround": surround,
    "posed": posed,
    "road-masks": later("lit.commands.prepare.masks", "road_masks"),
    "empty-frames": later("lit.commands.prepare.masks", "empty_frames"),
    "gan-views": later("lit.commands.prepare.gan_views", "main"),
    "weights": later("lit.commands.prepare.checkpoints", "weights"),
    "released": later("lit.commands.prepare.checkpoints", "released"),
}
