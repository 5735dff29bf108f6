"""``prepare dst-filter``: the K-fold consistency filter over generated images."""

from __future__ import annotations

import argparse
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.text_files import read_cells
from datamodules.processes import track
from datamodules.renders.filtered import FILTERED, FilterFile, FilterRow, write_filter
from datamodules.renders.generated import Generated, angles_of, digest_of_images, generated_images
from datamodules.renders.render_set import RenderSet
from lit.arguments import Arguments, positive
from lit.commands.prepare.masks import share
from lit.commands.prepare.paths import typed_path
from lit.metrics.pose_accuracy import pose_errors, scores_of_poses
from lit.posing.consistency import (
    DROP,
    FOLDS,
    VERSION,
    Training,
    exchanged,
    folds_of,
    held_out_losses,
    kept_by,
    require_drop,
    success_rates,
    train_estimator,
)
from lit.proxies.pose_estimator import PoseEstimator, rotations_of


def dst_filter(argv: list[str]) -> int:
    """Score each image by an estimator that did not see it; mark each class's worst share as dropped."""
    options = _parse(argv)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    renders = RenderSet.load(options.root)
    images = generated_images(renders, options.name)
    classes = [image.render.annotation.words for image in images]
    pixels = torch.from_numpy(np.stack([read_square(image, images[0]) for image in images]).transpose(0, 3, 1, 2))
    stated = angles_of(images)
    angles = torch.from_numpy(stated)
    places = exchanged(classes, options.exchange, options.seed)
    known = None if options.truth is None else true_angles(options.truth, images)
    pixels = pixels[torch.from_numpy(places)]
    settings = {
        "backbone": options.backbone,
        "weights": options.weights,
        "options": {"channels": options.channels} if options.channels else {},
        "stride": options.stride,
        "pool": options.pool,
        "size": options.size,
        "lr": options.lr,
        "decay_every": max(options.epochs // 3, 1),
    }
    training = Training(options.epochs, options.batch, options.seed)
    losses, errors = np.zeros(len(images), np.float32), np.zeros(len(images))
    folds = folds_of(classes, options.folds, options.seed)
    names = np.array(["all"] * len(classes) if options.shared else classes)
    for name in track(sorted(set(names.tolist())), "classes"):
        here = np.flatnonzero(names == name)
        part = torch.from_numpy(here)
        losses[here], errors[here] = held_out_losses(
            lambda: PoseEstimator(**settings), pixels[part], angles[part], folds[here], training
        )
    kept = kept_by(losses, classes, options.drop)
    figures = _figures(errors, kept)
    if known is not None or options.exchange:
        true = (stated if known is None else known)[places]
        apart = pose_errors(rotations_of(torch.from_numpy(true)), rotations_of(angles)).numpy()
        figures |= {f"true_success_{part}": value for part, value in success_rates(apart, kept).items()}
    if options.exchange:
        moved = places != np.arange(len(places))
        figures["exchanged_dropped"] = float((~kept[moved]).mean())
        print(f"exchanged {int(moved.sum())} of {len(images)} images; nothing is written")
        _print(figures)
        return 0
    rows = [
        FilterRow(image.key, float(loss), float(np.degrees(error)), bool(keep))
        for image, loss, error, keep in zip(images, losses, errors, kept)
    ]
    said = {key: str(value) if isinstance(value, dict) else value for key, value in settings.items()}
    said |= {
        "version": VERSION,
        "folds": options.folds,
        "drop": options.drop,
        "epochs": options.epochs,
        "seed": options.seed,
        FILTERED: digest_of_images(images),
    }
    path = write_filter(options.root, options.name, FilterFile(1, said, figures, rows))
    if options.save is not None:
        chosen = torch.from_numpy(np.flatnonzero(kept))
        estimator = train_estimator(lambda: PoseEstimator(**settings), pixels[chosen], angles[chosen], training)
        _save(estimator, options.save)
    print(f"wrote {path}: {int(kept.sum())} of {len(kept)} images kept")
    _print(figures)
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("prepare dst-filter", "Drops generated images whose pose held-out estimators doubt (KCF).")
    add = parser.add_argument
    add("--root", type=typed_path, required=True, help="folder of prepare dst-renders")
    add("--name", required=True, help="of the images, as given to prepare dst-images")
    add("--folds", type=positive, default=FOLDS, help=f"K (default {FOLDS})")
    add("--drop", type=share, default=DROP, help=f"share of each class that goes (default {DROP})")
    add("--shared", action="store_true", help="one estimator for all classes (default: one each, as 3D-DST)")
    add("--truth", type=typed_path, help="CSV of key, azimuth, elevation: poses known otherwise, to measure against")
    exchange = "share of each class's images that change places first: measures against their poses, writes nothing"
    add("--exchange", type=share, default=0.0, help=exchange)
    add("--save", type=typed_path, help="checkpoint of an estimator trained on what is kept")
    add("--backbone", default="resnet50", help="timm model (default resnet50)")
    add("--weights", required=True, help="its weights: timm, a file, or none")
    add("--channels", type=positive, nargs="+", help="of a narrow ResNet's four stages")
    add("--stride", type=positive, default=32, help="of the feature map (default 32)")
    add("--pool", type=positive, default=1, help="cells a side it is averaged to (default 1)")
    add("--size", type=positive, default=256, help="pixels a side (default 256)")
    add("--epochs", type=positive, default=150, help="of each estimator (default 150)")
    add("--batch", type=positive, default=32, help="images a step (default 32)")
    add("--lr", type=float, default=0.01, help="of SGD (default 0.01)")
    add("--seed", type=int, default=42, help="of folds, weights and order (default 42)")
    options = parser.parse_args(argv)
    require_drop(options.drop)
    if options.channels and len(options.channels) != 4:
        raise InputError(f"--channels {' '.join(map(str, options.channels))}: expected four, one of each stage")
    if options.exchange and options.save is not None:
        raise InputError(f"--save {options.save} with --exchange: its pictures stand at others' places; leave one out")
    return options


def read_square(image: Generated, first: Generated) -> np.ndarray:
    """(S, S, 3) uint8 of an image.

    Raises:
        InputError: it cannot be read, or has another size than the first.
    """
    pixels, size = image.read(), first.read().shape if image is not first else None
    if size is not None and pixels.shape != size:
        raise InputError(f"{image.path}: {pixels.shape[1]} pixels a side, expected {size[1]}; generate it again")
    return pixels


def true_angles(path: Path, images: list[Generated]) -> np.ndarray:
    """(N, 3) float32 degrees: what a CSV file says of each image's pose.

    Raises:
        InputError: a column is missing, a value is no number, or an image has no row.
    """
    known = {}
    for line, row in read_cells(path, "known poses, a CSV file", ("key", "azimuth", "elevation")):
        try:
            known[row["key"]] = (float(row["azimuth"]), float(row["elevation"]), 0.0)
        except ValueError:
            raise InputError(f"{path}: line {line}: expected degrees in azimuth and elevation") from None
    if lost := next((image.key for image in images if image.key not in known), None):
        raise InputError(f"{path}: no row of {lost}; add it")
    return np.array([known[image.key] for image in images], np.float32)


def _figures(errors: np.ndarray, kept: np.ndarray) -> dict[str, float | None]:
    """What the held-out estimators say: shares within pi / 6 and pi / 18 of all images and of those kept."""
    found: dict[str, float | None] = {}
    for part, chosen in (("all", errors), ("kept", errors[kept])):
        found |= {f"{key}_{part}": value for key, value in scores_of_poses(torch.from_numpy(chosen)).items()}
    return found


def _print(figures: dict[str, float | None]) -> None:
    for key, value in figures.items():
        print(f"  {key:<24} {'-' if value is None else format(value, '.3f')}")


def _save(estimator: PoseEstimator, path: Path) -> None:
    buffer = io.BytesIO()
    content: dict[str, Any] = {"hyper_parameters": dict(estimator.hparams), "state_dict": estimator.state_dict()}
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
