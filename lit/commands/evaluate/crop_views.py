"""``python -m lit evaluate crop-views``: cars made of one labelled crop against photographs of them in other frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.bank import AssetBank
from datamodules.assets.crops.label_masks import MIN_SCORE, LabelMasks
from datamodules.assets.crops.sightings import Sighting, ordered_pairs, same_objects, turn_between
from datamodules.assets.recomposition import RecompositionSource
from datamodules.errors import InputError
from datamodules.kitti.datamodule import KittiDataset
from datamodules.kitti.drives import DRIVES_FILE, read_drives
from datamodules.processes import track
from lit.arguments import Arguments, positive
from lit.commands.report import report
from lit.metrics.view_agreement import Agreement, agreement_with, on_grey

ARMS = ("bank", "recomposition", "other_car")
TURNS = (0.0, 5.0, 10.0, 25.0, 180.0)  # degrees
DRAWS = 2000  # of drives, for intervals
SHEET = 16

Cars = dict[tuple[str, ...], list[Sighting]]


def crop_views(argv: list[str]) -> int:
    """Draws each car of a bank of crops (G3DR's, conf/experiment/g3dr_crops.yaml) as another frame of its drive saw it.

    Beside it stand the crop itself, warped there as recomposition does, and another car of the bank: what the car's own
    field is worth at all.
    """
    parser = Arguments("evaluate crop-views", (crop_views.__doc__ or "").split("\n\n")[0])
    parser.add_argument("--root", type=Path, required=True, help=f"KITTI folder with {DRIVES_FILE}")
    parser.add_argument("--bank", type=Path, required=True, help="bank made of that split's labelled crops")
    parser.add_argument("--split", default="train", help="file of ImageSets (train)")
    parser.add_argument("--name", default="Car", help="class (Car)")
    parser.add_argument("--min-height", type=float, default=32.0, metavar="PX", help="of the 2D box (32)")
    parser.add_argument("--max-truncation", type=float, default=0.05, metavar="SHARE", help="(0.05)")
    parser.add_argument("--max-occlusion", type=int, default=0, metavar="LEVEL", help="(0)")
    parser.add_argument("--masks", help="as the bank's: grabcut, or a file of Mask R-CNN's weights (frames' own)")
    parser.add_argument("--mask-folder", help="keeps computed masks")
    parser.add_argument("--min-score", type=float, default=MIN_SCORE, help=f"least plausibility ({MIN_SCORE})")
    parser.add_argument("--pairs", type=positive, default=12, metavar="N", help="pairs of frames a car at most (12)")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="photograph, bank, recomposition, other car")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)
    bank = AssetBank(options.bank)
    cutter = RecompositionSource(options.name, options.min_height, options.max_truncation, options.max_occlusion)
    masks = LabelMasks(options.masks, options.mask_folder, options.min_score)
    dataset = KittiDataset(options.root, options.split, None, extras=True)
    seen = [
        Sighting(crop, frame.sample_id)
        for frame in (dataset.read(index) for index in track(range(len(dataset)), "frames"))
        for crop in cutter.cut(frame, masks)
    ]
    drives = read_drives(options.root, [sighting.frame for sighting in seen])
    if not drives:
        raise InputError(f"{options.root / DRIVES_FILE} does not exist, expected rows of id and drive; write it")
    number = {id: place for place, id in enumerate(bank.ids)}
    known = [sighting for sighting in seen if sighting.crop.id in number]
    cars = {car: found for car, found in same_objects(seen, drives).items() if _in_bank(found, number)}
    if not cars:
        raise InputError(
            f"{options.bank}: {len(known)} of its {len(bank)} cars are of {options.split} of {options.root}, none of "
            "them in two frames of a drive; expected a bank of conf/experiment/g3dr_crops.yaml, made with these options"
        )
    rows = compare(bank, number, cars, options.pairs)
    metrics: dict[str, Any] = {**summary(rows), **differences(rows)}
    figures = {
        "metrics": metrics,
        "counts": {"crops": len(known), "cars": len(cars), "pairs": len(rows), "drives": len({k[0] for k in cars})},
        "options": {"split": options.split, "min_height": options.min_height, "pairs": options.pairs},
        "bank": bank.hash,
        "evaluator": {"name": "crop-views", "version": "1"},
    }
    if options.sheet:
        write_sheet(options.sheet, bank, number, cars)
    title = f"{len(rows)} pairs of frames, {len(cars)} cars"
    report(title, figures, options.out, metrics | {"evaluator": figures["evaluator"]})
    return 0


class DrawnCar:
    """A car drawn by every arm as one frame saw it: who it is, how far it turned, and the figures by arm.

    An arm that could not draw it has none.
    """

    def __init__(self, car: tuple[str, ...], turn: float, scores: dict[str, Agreement]) -> None:
        self.car, self.turn, self.scores = car, turn, scores


def compare(bank: AssetBank, number: dict[str, int], cars: Cars, most: int) -> list[DrawnCar]:
    """Every car in its pairs of frames, by all arms; ``number`` is an id's place in the bank."""
    rows = []
    for place, (car, seen) in enumerate(track(list(cars.items()), "cars")):
        for source, target in ordered_pairs(seen, number, most):
            drawn = layers(bank, number, source, target, _another(cars, number, place))
            scores = {arm: agreement_with(layer, target.crop) for arm, layer in drawn.items() if layer is not None}
            rows.append(DrawnCar(car, turn_between(source.crop, target.crop), scores))
    return rows


def _in_bank(seen: Sequence[Sighting], number: dict[str, int]) -> list[Sighting]:
    return [sighting for sighting in seen if sighting.crop.id in number]


def _another(cars: Cars, number: dict[str, int], place: int) -> Sighting:
    """A sighting, in the bank, of the next car, or of the car itself where there is none."""
    every = list(cars.values())
    return _in_bank(every[(place + 1) % len(every)], number)[0]


def layers(
    bank: AssetBank, number: dict[str, int], source: Sighting, target: Sighting, other: Sighting
) -> dict[str, Any]:
    """What each arm draws at the target's box: a layer or None."""
    at = (target.crop.camera, target.crop.box)
    return {
        "bank": bank[number[source.crop.id]].render(*at),
        "recomposition": source.crop.render(*at),
        "other_car": bank[number[other.crop.id]].render(*at),
    }


def summary(rows: Sequence[DrawnCar]) -> dict[str, float]:
    """Means over cars of the means over their pairs, by arm and by how far the car is turned."""
    found: dict[str, float] = {}
    for low, high in [(TURNS[0], TURNS[-1]), *pairwise(TURNS)]:
        name = "" if (low, high) == (TURNS[0], TURNS[-1]) else f"_{low:.0f}_to_{high:.0f}"
        inside = [row for row in rows if low <= row.turn <= high and len(row.scores) == len(ARMS)]
        found[f"pairs{name}"] = float(len(inside))
        for arm in ARMS:
            by_car = _by_car(inside, arm)
            if len(by_car):
                means = np.nanmean(by_car, 0)
                found |= {f"{arm}/{figure}{name}": float(m) for figure, m in zip(Agreement._fields, means)}
    return found


def _by_car(rows: Sequence[DrawnCar], arm: str) -> np.ndarray:
    """(cars, 3) mean figures of each."""
    cars = defaultdict(list)
    for row in rows:
        cars[row.car].append(row.scores[arm])
    with np.errstate(invalid="ignore"):
        return np.array([np.nanmean(np.array(scores), 0) for scores in cars.values()])


def differences(rows: Sequence[DrawnCar]) -> dict[str, float | list[float]]:
    """What the bank has above the others in PSNR, with 95 % intervals by drives drawn anew."""
    found: dict[str, float | list[float]] = {}
    shared = [row for row in rows if len(row.scores) == len(ARMS)]
    rng = np.random.default_rng(0)
    for arm in ARMS[1:]:
        drives: dict[str, list[float]] = defaultdict(list)
        for car in dict.fromkeys(row.car for row in shared):
            own = [row.scores["bank"].psnr - row.scores[arm].psnr for row in shared if row.car == car]
            drives[car[0]].append(float(np.mean(own)))
        if not drives:
            continue
        values = list(drives.values())
        drawn = [
            np.mean(np.concatenate([values[i] for i in rng.integers(len(values), size=len(values))]))
            for _ in range(DRAWS)
        ]
        found[f"bank_minus_{arm}/psnr"] = float(np.mean(np.concatenate(values)))
        found[f"bank_minus_{arm}/psnr_interval"] = [float(q) for q in np.quantile(drawn, (0.025, 0.975))]
    return found


def write_sheet(path: Path, bank: AssetBank, number: dict[str, int], cars: Cars) -> None:
    """The widest turn of the first cars: photograph, bank, recomposition, another car, one below the other."""
    import cv2

    from datamodules.assets.view_assets import premultiply
    from datamodules.files.atomic_files import write_atomically
    from lit.pictures.pictures import png, stacked

    columns = []
    for place, seen in enumerate(list(cars.values())[:SHEET]):
        source, target = ordered_pairs(seen, number, len(seen) ** 2)[-1]
        drawn = layers(bank, number, source, target, _another(cars, number, place))
        rgba = premultiply(target.crop.rgba).astype(np.float32)
        photo = np.rint(rgba[..., :3] + (1 - rgba[..., 3:] / 255) * 128).astype(np.uint8)
        tiles = [photo, *(on_grey(layer, target.crop) for layer in drawn.values())]
        columns.append(np.concatenate([cv2.resize(tile, (128, 80)) for tile in tiles]))
    write_atomically(path, png(stacked(columns, columns=min(8, len(columns)), gap=2)))
