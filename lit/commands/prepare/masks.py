"""What a segmenter sees in the pictures of a folder, and ``prepare empty-frames``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.images import read_image
from datamodules.kitti.tree import not_found, picture_path, read_split
from datamodules.processes import track
from lit.arguments import Arguments
from lit.commands.prepare.paths import typed_path
from lit.proxies.torchvision_segmenter import FORM, AnySegmenter, load_segmenter

MOVERS = (
    "vehicle", "car", "van", "truck", "bus", "caravan", "trailer", "train", "tram", "motorcycle", "motorbike",
    "bicycle", "person", "pedestrian", "rider", "cyclist",
)  # fmt: skip


def share(text: str) -> float:
    """A number in [0, 1], as an argparse type.

    Raises:
        ValueError: for anything else.
    """
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def class_rows(model: AnySegmenter, names: Iterable[str], path: Path) -> list[int]:
    """Numbers of the model's classes that are among ``names``.

    Raises:
        InputError: it has none of them.
    """
    rows = [row for row, name in enumerate(model.classes) if name.lower() in tuple(names)]
    if not rows:
        raise InputError(
            f"{path}: classes {', '.join(model.classes)}, expected one of {', '.join(names)}; give another segmenter"
        )
    return rows


def predicted(model: AnySegmenter, files: Mapping[str, Path], title: str) -> Iterator[tuple[str, np.ndarray]]:
    """Names and the most probable class (H, W) of every pixel of their images, one by one: sizes may differ."""
    model = model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    for name in track(list(files), title):
        image = torch.from_numpy(read_image(files[name])[None])
        yield name, model.probabilities(image)[0].argmax(0).cpu().numpy()


def _open(root: Path) -> Path:
    images = root / "training" / "image_2"
    if not images.is_dir():
        raise not_found(images, root)
    return images


def empty_frames(argv: list[str]) -> int:
    """List the frames that hold next to no vehicle or person (Lift3D's unsupervised setting)."""
    about = "Writes a split of the frames that a segmenter finds (nearly) empty."
    parser = Arguments("prepare empty-frames", about)
    parser.add_argument("--root", type=typed_path, required=True, help="KITTI folder with training/ and ImageSets/")
    parser.add_argument(
        "--checkpoint", type=typed_path, required=True, help=f"runs/road_segmenter/last.ckpt, or {FORM}"
    )
    parser.add_argument("--split", default="train", help="frames to choose from (default train)")
    parser.add_argument("--name", default="empty", help="split to write (default empty)")
    parser.add_argument("--min-background", type=share, default=0.9, help="least share of background (default 0.9)")
    options = parser.parse_args(argv)
    images, ids = _open(options.root), read_split(options.root, options.split)
    if options.name == options.split:
        raise InputError(f"--name {options.name}: the split to choose from; give another name")
    model = load_segmenter(options.checkpoint)
    movers = class_rows(model, MOVERS, options.checkpoint)
    background = {
        sample_id: 1.0 - float(np.isin(classes, movers).mean())
        for sample_id, classes in predicted(model, {i: picture_path(images, i) for i in ids}, "empty frames")
    }
    if min(background.values()) == 1.0:
        raise InputError(
            f"{options.checkpoint}: finds no vehicle or person in any of {len(ids)} frames, expected some; train it "
            "longer (val/iou in its result.json) or on images like these"
        )
    chosen = [sample_id for sample_id in ids if background[sample_id] > options.min_background]
    if not chosen:
        raise InputError(
            f"none of {len(ids)} frames of split {options.split} has more than {options.min_background:g} background, "
            f"the emptiest has {max(background.values()):.3f}; lower --min-background"
        )
    path = options.root / "ImageSets" / f"{options.name}.txt"
    write_atomically(path, "".join(f"{sample_id}\n" for sample_id in chosen))
    print(f"wrote {path}: {len(chosen)} of {len(ids)} frames have more than {options.min_background:g} background")
    return 0
