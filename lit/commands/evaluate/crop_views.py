"""``python -m lit evaluate crop-views``: cars made of one labelled crop against photographs of them in other frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.assets.bank import AssetBank
from datamodules.assets.contract import Layer
from datamodules.assets.crops.label_masks import MIN_SCORE, LabelMasks
from datamodules.assets.crops.sightings import Sighting, ordered_pairs, same_objects, turn_between
from datamodules.assets.recomposition import RecompositionSource
from datamodules.errors import InputError
from datamodules.kitti.datamodule import KittiDataset
from datamodules.kitti.drives import DRIVES_FILE, read_drives
from datamodules.processes import track
from lit.arguments import Arguments, positive
from lit.commands.report import report
from lit.metrics.view_agreement import Agreement, agreement_with, on_grey, photograph_on_grey

ARMS = ("bank", "recomposition", "other_car")
TURNS = (0.0, 5.0, 10.0, 25.0, 180.0)  # degrees
DRAWS = 2000  # of drives, for intervals
SHEET = 16

Car = tuple[str, ...]  # its drive and its size


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
    cars = CarsOfBank(AssetBank(options.bank), same_objects(seen, drives))
    if not cars.seen:
        known = sum(sighting.crop.id in cars.place for sighting in seen)
        raise InputError(
            f"{options.bank}: {known} of its {len(cars.bank)} cars are of {options.split} of {options.root}, none of "
            "them in two frames of a drive; expected a bank of conf/experiment/g3dr_crops.yaml, made with these options"
        )
    rows = compare(cars, options.pairs)
    shared = [row for row in rows if len(row.scores) == len(ARMS)]
    metrics: dict[str, Any] = {**summary(shared), **differences(shared)}
    counts = {
        "crops": sum(sighting.crop.id in cars.place for sighting in seen), "cars": len(cars.seen), "pairs": len(rows),
        "drives": len({drive for drive, *_ in cars.seen}),
    }  # fmt: skip
    figures = {
        "metrics": metrics,
        "counts": counts,
        "options": {"split": options.split, "min_height": options.min_height, "pairs": options.pairs},
        "bank": cars.bank.hash,
        "evaluator": {"name": "crop-views", "version": "1"},
    }
    if options.sheet:
        write_sheet(options.sheet, cars)
    title = f"{len(rows)} pairs of frames, {len(cars.seen)} cars"
    report(title, figures, options.out, metrics | {"evaluator": figures["evaluator"]})
    return 0


class CarsOfBank:
    """Cars that several frames show and that a bank holds, made of one of these pictures.

    Attributes:
        bank: holds them, each under the id of its crop.
        place: of each id in the bank.
        seen: car to its sightings.
        other: car to a sighting, in the bank, of the next car; to its own where it is the only one.
    """

    def __init__(self, bank: AssetBank, cars: Mapping[Car, list[Sighting]]) -> None:
        self.bank, self.place = bank, {id: place for place, id in enumerate(bank.ids)}
        firsts = {car: next((s for s in seen if s.crop.id in self.place), None) for car, seen in cars.items()}
        known = {car: first for car, first in firsts.items() if first is not None}
        self.seen = {car: cars[car] for car in known}
        self.other = dict(zip(known, [*known.values()][1:] + [*known.values()][:1]))

    def pairs(self, car: Car, most: int | None = None) -> list[tuple[Sighting, Sighting]]:
        """A car's pairs of (picture that the bank's was made of, picture to compare with), all or so many."""
        seen = self.seen[car]
        return ordered_pairs(seen, self.place, len(seen) ** 2 if most is None else most)

    def draw(self, car: Car, source: Sighting, target: Sighting) -> dict[str, Layer | None]:
        """What each arm draws at the target's box."""
        at = (target.crop.camera, target.crop.box)
        return {
            "bank": self.bank[self.place[source.crop.id]].render(*at),
            "recomposition": source.crop.render(*at),
            "other_car": self.bank[self.place[self.other[car].crop.id]].render(*at),
        }


class DrawnCar(NamedTuple):
    """A car drawn by every arm as one frame saw it.

    Attributes:
        car: who it is.
        turn: degrees from the picture it was made of.
        scores: figures by arm; an arm that could not draw it has none.
    """

    car: Car
    turn: float
    scores: dict[str, Agreement]


def compare(cars: CarsOfBank, most: int) -> list[DrawnCar]:
    """Every car in at most so many pairs of frames, by all arms."""
    rows = []
    for car in track(list(cars.seen), "cars"):
        for source, target in cars.pairs(car, most):
            drawn = cars.draw(car, source, target)
            scores = {arm: agreement_with(layer, target.crop) for arm, layer in drawn.items() if layer is not None}
            rows.append(DrawnCar(car, turn_between(source.crop, target.crop), scores))
    return rows


def summary(rows: Sequence[DrawnCar]) -> dict[str, float]:
    """Means over cars of the means over their pairs, by arm and by how far the car is turned.

    Args:
        rows: cars that every arm could draw, as for :func:`differences`.
    """
    found: dict[str, float] = {}
    for low, high in [(TURNS[0], TURNS[-1]), *pairwise(TURNS)]:
        name = "" if (low, high) == (TURNS[0], TURNS[-1]) else f"_{low:.0f}_to_{high:.0f}"
        inside = [row for row in rows if low <= row.turn <= high]
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
    rng = np.random.default_rng(0)
    for arm in ARMS[1:] if rows else ():
        cars: dict[Car, list[float]] = defaultdict(list)
        for row in rows:
            cars[row.car].append(row.scores["bank"].psnr - row.scores[arm].psnr)
        drives: dict[str, list[float]] = defaultdict(list)
        for (drive, *_), gains in cars.items():
            drives[drive].append(float(np.mean(gains)))
        values = list(drives.values())
        picks = (rng.integers(len(values), size=len(values)) for _ in range(DRAWS))
        drawn = [np.mean(np.concatenate([values[place] for place in pick])) for pick in picks]
        found[f"bank_minus_{arm}/psnr"] = float(np.mean(np.concatenate(values)))
        found[f"bank_minus_{arm}/psnr_interval"] = [float(q) for q in np.quantile(drawn, (0.025, 0.975))]
    return found


def write_sheet(path: Path, cars: CarsOfBank) -> None:
    """The widest turn of the first cars: photograph, bank, recomposition, another car, one below the other."""
    import cv2

    from datamodules.files.atomic_files import write_atomically
    from lit.pictures.pictures import png, stacked

    columns = []
    for car in list(cars.seen)[:SHEET]:
        source, target = cars.pairs(car)[-1]
        drawn = cars.draw(car, source, target).values()
        tiles = [photograph_on_grey(target.crop), *(on_grey(layer, target.crop) for layer in drawn)]
        columns.append(np.concatenate([cv2.resize(tile, (128, 80)) for tile in tiles]))
    write_atomically(path, png(stacked(columns, columns=min(8, len(columns)), gap=2)))
