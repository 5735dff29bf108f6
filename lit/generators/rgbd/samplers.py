"""Who draws photographs with depth: a model trained here, or LDM3D's weights, behind one interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.generators.rgbd.diffusion import RgbdDiffusion
from lit.generators.rgbd.ldm3d import RGBD_CURE, Ldm3dFolder
from lit.networks.image_range import to_pixels
from lit.weights.files import digest

if TYPE_CHECKING:
    from lit.proxies.torchvision_segmenter import AnySegmenter  # seconds to import, for one option

TRIES = 4  # pictures drawn for one that is wanted, at most, where some show nothing


class RgbdSampler(Protocol):
    """What draws pictures.

    Attributes:
        size: pixels a side.
        masks: whether they show objects that are cut out.
        digest: tells one set of weights from another.
        classes: names it can be asked for; None where it reads any text.
    """

    size: int
    masks: bool
    digest: str
    classes: tuple[str, ...] | None

    def sample(self, words: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        """Pictures (B, 4, S, S) in [-1, 1] of B classes or texts, each with a seed of its own."""
        ...


class TrainedSampler:
    """A checkpoint of :class:`RgbdDiffusion`; see :class:`RgbdSampler`.

    Args:
        path: of the checkpoint.
        device: where it runs.
    """

    def __init__(self, path: str | Path, device: torch.device | str = "cpu") -> None:
        self.model = RgbdDiffusion.load(path).to(device)
        self.size, self.masks = int(self.model.hparams["size"]), bool(self.model.hparams["masks"])
        self.digest = digest(Path(path))
        self.classes = self.model.known_classes

    def sample(self, words: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        """See :class:`RgbdSampler`."""
        return self.model.sample(words, seeds, steps, guidance)


class SegmentedSampler:
    """A sampler whose pictures lose what a segmenter takes for background; see :class:`RgbdSampler`.

    Args:
        sampler: draws.
        segmenter: says where objects are.
        rows: its classes that count.
    """

    masks = True

    def __init__(self, sampler: RgbdSampler, segmenter: AnySegmenter, rows: Sequence[int]) -> None:
        self.sampler, self.segmenter, self.rows = sampler, segmenter, list(rows)
        self.size, self.digest, self.classes = sampler.size, sampler.digest, sampler.classes

    def sample(self, words: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        """See :class:`RgbdSampler`."""
        pictures = self.sampler.sample(words, seeds, steps, guidance)
        seen = self.segmenter.probabilities(to_pixels(pictures[:, :3]))[:, self.rows].sum(1, keepdim=True) > 0.5
        nothing = torch.tensor([0.0, 0, 0, 1]).view(1, 4, 1, 1).to(pictures)  # grey, at the far side
        return torch.where(seen.to(pictures.device), pictures, nothing)


def open_sampler(path: str | Path, device: torch.device | str = "cpu") -> RgbdSampler:
    """A sampler from a file or a folder.

    Raises:
        InputError: nothing is there, or it is neither a checkpoint of conf/experiment/rgbd.yaml nor LDM3D.
    """
    if not Path(path).exists():
        raise InputError(f"{path}: no such file or folder, {RGBD_CURE}")
    return Ldm3dFolder(path, device) if Path(path).is_dir() else TrainedSampler(path, device)


def drawn_pictures(
    sampler: RgbdSampler,
    words: str,
    count: int,
    seed: int = 0,
    batch: int = 16,
    steps: int = 50,
    guidance: float = 2.0,
    wanted: float = 0.0,
    far_side: float = 1.0,
) -> Iterator[tuple[int, Tensor]]:
    """Number and picture (4, S, S) of so many samples; of the same seed the same, whatever the batches.

    Args:
        sampler: draws.
        words: a class, or a text.
        count: pictures.
        seed: of all.
        batch: pictures at a time.
        steps, guidance: of the sampler.
        wanted: least share of the picture that lies before ``far_side``; others are left out, and more are drawn.
        far_side: place in the cube.

    Raises:
        InputError: too few of four times as many show so much.
    """
    kept = 0
    for first in range(0, TRIES * count, batch):
        numbers = range(first, min(first + batch, TRIES * count if wanted else count))
        seeds = [int(derive(seed, "rgbd", words, number).integers(2**62)) for number in numbers]
        for number, picture in zip(numbers, sampler.sample([words] * len(numbers), seeds, steps, guidance)):
            if float((picture[3] < far_side).float().mean()) >= wanted:
                yield number, picture
                kept += 1
                if kept == count:
                    return
    raise InputError(
        f"{kept} of {TRIES * count} pictures of {words!r} show an object on {wanted:.0%} of them, expected {count}: "
        "train longer, or lower --min-area"
    )
