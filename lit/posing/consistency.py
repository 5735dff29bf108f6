"""3D-DST's K-fold consistency filter: images whose pose an estimator that never saw them finds unlikely are dropped.

Source: Ma et al., ICLR 2024, and its code. Two departures: held-out losses are taken in evaluation mode (the code
leaves batch normalisation in training mode, so that an image's score hangs on its neighbours), and since neither names
a threshold, the worst quarter of each class goes by default, the share of images that people found wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.metrics.pose_accuracy import pose_errors
from lit.proxies.pose_estimator import PoseEstimator, rotations_of

VERSION = "1"  # of the filter's figures
FOLDS, DROP = 5, 0.25


@dataclass(frozen=True)
class Training:
    """How an estimator is trained.

    Attributes:
        epochs: over its images.
        batch: images a step.
        seed: of weights and order.
        accelerator: of Lightning's trainer.
    """

    epochs: int = 150
    batch: int = 32
    seed: int = 42
    accelerator: str = "auto"


def folds_of(classes: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """(N,) fold of each image, each class dealt out evenly in an order of its own.

    Raises:
        InputError: fewer than two folds, or a class with fewer images.
    """
    if folds < 2:
        raise InputError(f"folds {folds}: expected at least 2, one to hold out and one to train on")
    names, found = np.asarray(classes), np.zeros(len(classes), np.int64)
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        if len(members) < folds:
            raise InputError(f"folds {folds}: class {name} has {len(members)} images; lower folds or generate more")
        found[derive(seed, "folds", str(name)).permutation(members)] = np.arange(len(members)) % folds
    return found


def train_estimator(
    build: Callable[[], PoseEstimator], images: Tensor, angles: Tensor, training: Training
) -> PoseEstimator:
    """Train a new estimator on images (N, 3, S, S) uint8 and angles (N, 3) degrees; in evaluation mode afterwards.

    Raises:
        InputError: steps of one image, whose single cell batch normalisation cannot work on.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        estimator = build()
        batch = min(training.batch, len(images))
        order = torch.Generator().manual_seed(training.seed)
        # A last batch of one would have no variance to normalise by.
        loader = DataLoader(TensorDataset(images, angles), batch, shuffle=True, generator=order, drop_last=True)
        trainer = Trainer(
            max_epochs=training.epochs,
            accelerator=training.accelerator,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(estimator, loader)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"batch {batch}: batch normalisation has one value a channel to work on, expected two images a step or "
                "more; give more images, a larger batch, or a finer stride"
            ) from error
    return estimator.eval()


@torch.no_grad()
def found_errors(estimator: PoseEstimator, images: Tensor, angles: Tensor) -> Tensor:
    """(B,) float64 geodesic distances, radians, of the poses an estimator finds to angles (B, 3) degrees."""
    return pose_errors(rotations_of(estimator.pose(images)), rotations_of(angles))


@torch.no_grad()
def in_batches(
    score: Callable[[Tensor, Tensor], Tensor], images: Tensor, angles: Tensor, batch: int = 64
) -> np.ndarray:
    """(N,) scores of images and angles, some at a time."""
    parts = [score(images[i : i + batch], angles[i : i + batch]) for i in range(0, len(images), batch)]
    return torch.cat(parts).cpu().numpy()


def held_out_losses(
    build: Callable[[], PoseEstimator], images: Tensor, angles: Tensor, folds: np.ndarray, training: Training
) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each image, and how far its pose is from the annotated one, by the estimator of the other folds.

    Args:
        build: makes a new estimator.
        images: (N, 3, S, S) uint8.
        angles: (N, 3) degrees, as annotated.
        folds: (N,) fold of each.
        training: of each of the estimators.

    Returns:
        (N,) float32, and (N,) float64 radians.
    """
    losses, errors = np.zeros(len(images), np.float32), np.zeros(len(images))
    for fold in np.unique(folds):
        here = np.flatnonzero(folds == fold)  # NumPy takes a tensor of one number for that number
        out, rest = torch.from_numpy(here), torch.from_numpy(np.flatnonzero(folds != fold))
        estimator = train_estimator(build, images[rest], angles[rest], training)
        losses[here] = in_batches(estimator.losses, images[out], angles[out])
        errors[here] = in_batches(partial(found_errors, estimator), images[out], angles[out])
    return losses, errors


def require_drop(drop: float) -> None:
    """Check the share of images that go.

    Raises:
        InputError: it is outside [0, 1).
    """
    if not 0 <= drop < 1:
        raise InputError(f"drop {drop:g}: expected a share in [0, 1), such as 0.25")


def kept_by(losses: np.ndarray, classes: Sequence[str], drop: float = DROP) -> np.ndarray:
    """(N,) bool: all but each class's worst ``drop`` share by loss; of equal losses the later image goes.

    Raises:
        InputError: a share outside [0, 1), or losses that are not finite.
    """
    require_drop(drop)
    if not np.isfinite(losses).all():
        raise InputError("losses that are not finite: the estimator diverged; lower its learning rate")
    names, kept = np.asarray(classes), np.ones(len(losses), np.bool_)
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        worst = np.argsort(losses[members], kind="stable")[len(members) - int(drop * len(members)) :]
        kept[members[worst]] = False
    return kept


def exchanged(classes: Sequence[str], share: float, seed: int) -> np.ndarray:
    """(N,) whose picture each image shows when a share of each class's images go round, each to another's place.

    So their true poses are known and, by chance only, near the annotated ones.

    Args:
        classes: N names.
        share: of each class; 0 moves none.
        seed: of the draw.

    Raises:
        InputError: a share of less than two images of a class.
    """
    names, places = np.asarray(classes), np.arange(len(classes))
    for name in np.unique(names) if share else ():
        members = derive(seed, "exchanged", str(name)).permutation(np.flatnonzero(names == name))
        moved = members[: round(share * len(members))]
        if len(moved) < 2:
            raise InputError(f"exchange {share:g}: less than two of the {len(members)} images of {name}; raise it")
        places[moved] = np.roll(moved, 1)
    return places


def success_rates(errors: np.ndarray, kept: np.ndarray, threshold: float = np.pi / 6) -> dict[str, float | None]:
    """Shares of images whose true pose is within a threshold (radians) of the annotated one: all, kept, dropped.

    None stands for the share of no image.

    Args:
        errors: (N,) radians between true and annotated pose.
        kept: (N,) bool.
        threshold: radians.
    """
    good = errors < threshold
    return {
        "all": float(good.mean()),
        "kept": float(good[kept].mean()) if kept.any() else None,
        "dropped": float(good[~kept].mean()) if not kept.all() else None,
    }
