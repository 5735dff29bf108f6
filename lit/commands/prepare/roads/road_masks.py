"""``prepare road-masks``: where a segmenter or a map says road is, written for placement, and checked against labels.

Masks are files rather than a network in the loader's workers: one pass over the images serves every run.
"""

from __future__ import annotations

import json
from contextlib import suppress
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
from lit.arguments import Arguments
from lit.commands.prepare.masks import share
from lit.commands.prepare.paths import typed_path
from lit.commands.prepare.roads.road_pictures import RoadPictures, kitti_pictures, nuscenes_pictures
from lit.commands.prepare.roads.road_sources import MapRoads, RoadSource, SegmenterRoads
from lit.proxies.torchvision_segmenter import FORM


def road_masks(argv: list[str]) -> int:
    """Write road masks; finished ones are kept, so an interrupted run goes on, and refuse those that miss vehicles."""
    about = "Writes road masks where placement reads them: training/road_2 of KITTI, road of nuScenes."
    parser = Arguments("prepare road-masks", about)
    root = "KITTI folder with training/ and ImageSets/, or nuScenes folder with samples/"
    parser.add_argument("--root", type=typed_path, required=True, help=root)
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--checkpoint", type=typed_path, help=f"a segmenter: runs/road_segmenter/last.ckpt, or {FORM}")
    of.add_argument(
        "--maps", type=typed_path, help="of nuScenes, folder of the map expansion's files: ROOT/maps/expansion"
    )
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
    source = _source(options, pictures)
    note = _note(out)
    stated = read_json(note, dict[str, str], "what made the masks; delete both") if note.is_file() else None
    if out.is_dir() and any(out.iterdir()) and stated != source.maker:
        raise InputError(
            f"{out}: holds masks of another source, expected none or those of {source.place}; delete it or give --out"
        )
    with folder_lock(out, "road masks"):
        areas, written = _write_masks(source, ids, out)
    without = sum(not area for area in areas.values())
    if without == len(ids):
        _discard(out, ids)
        raise InputError(
            f"{source.place}: finds no road in any of {len(ids)} frames, expected some; {source.remedies[0]}"
        )
    stand, vehicles = coverage((_read(out, name), camera, objects) for name, camera, objects in pictures.labelled())
    if vehicles >= LEAST_VEHICLES and stand < options.min_coverage:
        _discard(out, ids)
        raise InputError(
            f"{source.place}: {stand:.0%} of {vehicles} labelled vehicles stand on its road, expected at least "
            f"{options.min_coverage:.0%}; {source.remedies[1]}"
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


def _source(options: Any, pictures: RoadPictures) -> RoadSource:
    if options.maps is not None:
        return MapRoads(options.maps, pictures, options.version)
    return SegmenterRoads(options.checkpoint, pictures)


def _note(out: Path) -> Path:
    """What made the masks; beside them, because readers count masks."""
    return out.with_name(f"{out.name}.json")


def _read(out: Path, name: str) -> np.ndarray:
    return np.asarray(read_image(out / f"{name}.png", cv2.IMREAD_UNCHANGED) > 127)


def _discard(out: Path, ids: list[str]) -> None:
    """Remove masks by which nobody shall place objects."""
    for name in ids:
        (out / f"{name}.png").unlink()
    for folder in {(out / name).parent for name in ids} - {out}:  # of cameras
        with suppress(OSError):  # somebody's own files are there
            folder.rmdir()
    _note(out).unlink()
    (out / CHECKSUMS).unlink()


def _write_masks(source: RoadSource, ids: list[str], out: Path) -> tuple[dict[str, float], int]:
    """Write the masks that are missing, then checksums of all: the share of road in each, and how many are new."""
    write_atomically(_note(out), json.dumps(source.maker))
    if not (out / CHECKSUMS).is_file():
        write_atomically(out / CHECKSUMS, checksums_text({}))  # a world's own masks may have stood here
    done = [name for name in ids if (out / f"{name}.png").is_file()]
    areas = {name: float(_read(out, name).mean()) for name in done}
    missing = sorted(set(ids) - set(done))
    for name, mask in source.masks(missing):
        write_image(out / f"{name}.png", mask.astype(np.uint8) * 255)
        areas[name] = float(mask.mean())
    files = {f"{name}.png": digest_of((out / f"{name}.png").read_bytes()) for name in ids}
    if files != read_checksums(out):
        write_atomically(out / CHECKSUMS, checksums_text(files))
    return areas, len(missing)
