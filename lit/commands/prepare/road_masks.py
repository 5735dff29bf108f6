"""``prepare road-masks``: where a segmenter sees road, written where placement reads it, and checked against labels.

Masks are files rather than a network in the loader's workers: one pass over the images serves every run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.files.checksums import CHECKSUMS, checksums_text, digest_of, read_checksums
from datamodules.files.folder_lock import folder_lock
from datamodules.files.typed_json import read_json
from datamodules.images import read_image, write_image
from datamodules.objects.road_coverage import LEAST_COVERAGE, LEAST_VEHICLES, coverage
from lit.commands.prepare.masks import class_rows, predicted, segmenter_parser, share
from lit.commands.prepare.paths import typed_path
from lit.commands.prepare.road_pictures import RoadPictures, kitti_pictures, nuscenes_pictures
from lit.proxies.torchvision_segmenter import AnySegmenter, load_segmenter, segmenter_file
from lit.weights.files import digest

ROADS = ("road", "parking")  # Cityscapes' drivable classes; the suite's own segmenter has the first


def road_masks(argv: list[str]) -> int:
    """Write road masks; finished ones are kept, so an interrupted run goes on, and refuse those that miss vehicles."""
    about = "Writes a segmenter's road masks where placement reads them: training/road_2 of KITTI, road of nuScenes."
    parser = segmenter_parser("road-masks", about, ", or nuScenes folder with samples/")
    parser.add_argument("--folder", default="road_2", help="of KITTI, folder under training/ (default road_2)")
    parser.add_argument("--out", type=typed_path, help="any folder instead, which data.road_masks then names")
    parser.add_argument("--version", default="v1.0-trainval", help="of nuScenes (default v1.0-trainval)")
    parser.add_argument("--split", default="train", help="of nuScenes (default train)")
    parser.add_argument(
        "--min-coverage",
        type=share,
        default=LEAST_COVERAGE,
        help=f"least share of labelled vehicles that stand on the masks (default {LEAST_COVERAGE:g}; 0 for no check)",
    )
    options = parser.parse_args(argv)
    pictures = _pictures(options)
    out, ids = options.out or pictures.masks, sorted(pictures.files)
    model = load_segmenter(options.checkpoint)
    roads = class_rows(model, ROADS, options.checkpoint)
    note = _note(out)
    maker = {"checkpoint": digest(segmenter_file(options.checkpoint))}
    stated = read_json(note, dict[str, str], "what made the masks; delete both") if note.is_file() else None
    if out.is_dir() and any(out.iterdir()) and stated != maker:
        raise InputError(
            f"{out}: holds masks of another source, expected none or this checkpoint's; delete it or give --folder"
        )
    with folder_lock(out, "road masks"):
        areas, written = _write_masks(model, roads, pictures, out, maker)
    without = sum(not area for area in areas.values())
    if without == len(ids):
        _discard(out, ids)
        raise InputError(
            f"{options.checkpoint}: finds no road in any of {len(ids)} frames, expected some; train it longer "
            "(val/iou/road in its result.json) or on images like these"
        )
    stand, vehicles = coverage((_read(out, name), camera, objects) for name, camera, objects in pictures.labelled())
    if vehicles >= LEAST_VEHICLES and stand < options.min_coverage:
        _discard(out, ids)
        raise InputError(
            f"{options.checkpoint}: {stand:.0%} of {vehicles} labelled vehicles stand on its road, expected at least "
            f"{options.min_coverage:.0%}; train it on images like these, lower --min-coverage, or place without masks"
        )
    mean = float(np.mean(list(areas.values())))
    left_out = f"; {pictures.others} files that are no pictures left out" if pictures.others else ""
    checked = f"; {stand:.0%} of {vehicles} labelled vehicles stand on it" if vehicles else ""
    print(
        f"wrote {written} of {len(ids)} masks to {out}: mean road {mean:.1%}, none in {without} frames{checked}"
        f"{left_out}"
    )
    return 0


def _pictures(options: Any) -> RoadPictures:
    if (options.root / "samples").is_dir():
        return nuscenes_pictures(options.root, options.version, options.split)
    return kitti_pictures(options.root, options.folder)


def _note(out: Path) -> Path:
    """What made the masks; beside them, because readers count masks."""
    return out.with_name(f"{out.name}.json")


def _read(out: Path, name: str) -> np.ndarray:
    return np.asarray(read_image(out / f"{name}.png", cv2.IMREAD_UNCHANGED) > 127)


def _discard(out: Path, ids: list[str]) -> None:
    """Remove masks by which nobody shall place objects."""
    for name in ids:
        (out / f"{name}.png").unlink()
    _note(out).unlink()
    (out / CHECKSUMS).unlink()


def _write_masks(
    model: AnySegmenter, roads: list[int], pictures: RoadPictures, out: Path, maker: dict[str, str]
) -> tuple[dict[str, float], int]:
    """Write the masks that are missing, then checksums of all: the share of road in each, and how many are new."""
    write_atomically(_note(out), json.dumps(maker))
    if not (out / CHECKSUMS).is_file():
        write_atomically(out / CHECKSUMS, checksums_text({}))  # a world's own masks may have stood here
    ids = sorted(pictures.files)
    done = [name for name in ids if (out / f"{name}.png").is_file()]
    areas = {name: float(_read(out, name).mean()) for name in done}
    missing = {name: pictures.files[name] for name in sorted(set(ids) - set(done))}
    for name, classes in predicted(model, missing, "road masks"):
        mask = np.isin(classes, roads)
        write_image(out / f"{name}.png", mask.astype(np.uint8) * 255)
        areas[name] = float(mask.mean())
    files = {f"{name}.png": digest_of((out / f"{name}.png").read_bytes()) for name in ids}
    if files != read_checksums(out):
        write_atomically(out / CHECKSUMS, checksums_text(files))
    return areas, len(missing)
