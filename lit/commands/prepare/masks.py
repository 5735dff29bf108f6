"""``prepare road-masks`` and ``prepare empty-frames``: what a segmenter sees, written where readers look.

Masks are files rather than a network in the loader's workers: one pass over the images serves every run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.checksums import CHECKSUMS, checksums_text, digest_of, read_checksums
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import read_json
from datamodules.images import read_image, write_image
from datamodules.kitti.tree import not_found, picture_ids, picture_path, read_split
from datamodules.processes import track
from lit.arguments import Arguments
from lit.commands.prepare.paths import typed_path
from lit.proxies.torchvision_segmenter import FORM, AnySegmenter, load_segmenter, segmenter_file
from lit.weights.files import digest

ROADS = ("road", "parking")  # Cityscapes' drivable classes; the suite's own segmenter has the first
MOVERS = (
    "vehicle", "car", "van", "truck", "bus", "caravan", "trailer", "train", "tram", "motorcycle", "motorbike",
    "bicycle", "person", "pedestrian", "rider", "cyclist",
)  # fmt: skip


def _parser(command: str, description: str) -> Arguments:
    parser = Arguments(f"prepare {command}", description)
    parser.add_argument("--root", type=typed_path, required=True, help="KITTI folder with training/ and ImageSets/")
    parser.add_argument(
        "--checkpoint", type=typed_path, required=True, help=f"runs/road_segmenter/last.ckpt, or {FORM}"
    )
    return parser


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


def predicted(model: AnySegmenter, folder: Path, ids: list[str], title: str) -> Iterator[tuple[str, np.ndarray]]:
    """Ids and the most probable class (H, W) of every pixel of their images, one after the other: sizes may differ."""
    model = model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    for sample_id in track(ids, title):
        image = torch.from_numpy(read_image(picture_path(folder, sample_id))[None])
        yield sample_id, model.probabilities(image)[0].argmax(0).cpu().numpy()


def _open(root: Path) -> Path:
    images = root / "training" / "image_2"
    if not images.is_dir():
        raise not_found(images, root)
    return images


def road_masks(argv: list[str]) -> int:
    """Write road masks beside the images; finished ones are kept, so an interrupted run goes on."""
    parser = _parser("road-masks", "Writes a segmenter's road masks to training/road_2, where placement reads them.")
    parser.add_argument("--folder", default="road_2", help="folder under training/ (default road_2)")
    options = parser.parse_args(argv)
    images, out = _open(options.root), options.root / "training" / options.folder
    model = load_segmenter(options.checkpoint)
    roads = class_rows(model, ROADS, options.checkpoint)
    note = out.with_suffix(".json")  # beside: readers count masks
    maker = {"checkpoint": digest(segmenter_file(options.checkpoint))}
    stated = read_json(note, dict[str, str], "what made the masks; delete both") if note.is_file() else None
    if out.is_dir() and any(out.iterdir()) and stated != maker:
        raise InputError(
            f"{out}: holds masks of another source, expected none or this checkpoint's; delete it or give --folder"
        )
    ids = picture_ids(images)
    others = len({path.stem for path in images.iterdir()} - set(ids))
    if not ids:
        raise InputError(f"{images}: no PNG or JPEG image; expected at least one")
    with folder_lock(out, "road masks"):
        areas, written = _write_masks(model, roads, images, out, ids, maker)
    without = sum(not area for area in areas.values())
    if without == len(ids):
        for sample_id in ids:  # nobody shall place objects by them
            (out / f"{sample_id}.png").unlink()
        note.unlink()
        (out / CHECKSUMS).unlink()
        raise InputError(
            f"{options.checkpoint}: finds no road in any of {len(ids)} frames, expected some; train it longer "
            "(val/iou/road in its result.json) or on images like these"
        )
    mean = float(np.mean(list(areas.values())))
    left_out = f"; {others} files that are no pictures left out" if others else ""
    print(f"wrote {written} of {len(ids)} masks to {out}: mean road {mean:.1%}, none in {without} frames{left_out}")
    return 0


def _write_masks(
    model: AnySegmenter, roads: list[int], images: Path, out: Path, ids: list[str], maker: dict[str, str]
) -> tuple[dict[str, float], int]:
    """Write the masks that are missing, then checksums of all: the share of road in each, and how many are new."""
    write_atomically(out.with_suffix(".json"), json.dumps(maker))
    if not (out / CHECKSUMS).is_file():
        write_atomically(out / CHECKSUMS, checksums_text({}))  # a world's own masks may have stood here
    done = [sample_id for sample_id in ids if (out / f"{sample_id}.png").is_file()]
    areas = {i: float((read_image(out / f"{i}.png", cv2.IMREAD_UNCHANGED) > 127).mean()) for i in done}
    for sample_id, classes in predicted(model, images, sorted(set(ids) - set(done)), "road masks"):
        mask = np.isin(classes, roads)
        write_image(out / f"{sample_id}.png", mask.astype(np.uint8) * 255)
        areas[sample_id] = float(mask.mean())
    files = {f"{i}.png": digest_of((out / f"{i}.png").read_bytes()) for i in ids}
    if files != read_checksums(out):
        write_atomically(out / CHECKSUMS, checksums_text(files))
    return areas, len(ids) - len(done)


def empty_frames(argv: list[str]) -> int:
    """List the frames that hold next to no vehicle or person (Lift3D's unsupervised setting)."""
    parser = _parser("empty-frames", "Writes a split of the frames that a segmenter finds (nearly) empty.")
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
        for sample_id, classes in predicted(model, images, ids, "empty frames")
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
