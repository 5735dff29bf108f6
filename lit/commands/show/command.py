"""``python -m lit show``: a contact sheet of a bank, or an experiment's frames with injected objects and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.scene import REAL, Frame
from lit.arguments import Arguments
from lit.commands.injected_frames import injected_pairs, injecting_datamodule
from lit.pictures.pictures import annotated, asset_sheet, injected_sheet, png, stacked

USAGE = """Shows a bank (eight yaws of each object) or what an experiment's injection does to its frames.
The experiment's options may follow, as `fit` takes them: --data.root DIR --data.injection conf/injection/lift3d.yaml
`show interpolation` films how the objects of a Lift3D checkpoint turn into each other; `show field` draws sheets,
grids, films and meshes of a pix2pix3D checkpoint."""


def main(argv: list[str]) -> int:
    """``python -m lit show BANK_OR_CONFIG --out page.html``."""
    if argv[:1] == ["interpolation"]:
        from lit.commands.show.interpolation import main as interpolation  # needs torch

        return interpolation(argv[1:])
    if argv[:1] == ["field"]:
        from lit.commands.show.field import main as field  # needs torch

        return field(argv[1:])
    parser = Arguments("show", USAGE)
    parser.add_argument("target", type=Path, help="a bank's folder, or an experiment's YAML file")
    parser.add_argument("--out", type=Path, required=True, help="page.html, or picture.png for the picture alone")
    parser.add_argument("--count", type=int, default=None, help="objects (default 12) or frames (default 4) to show")
    parser.add_argument(
        "--split", nargs="+", help="splits to take frames from (default: the experiment's own for training)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the injection (default 0)")
    options, rest = parser.parse_known_args(argv)
    if options.out.suffix not in (".html", ".png"):
        raise InputError(f"--out {options.out}: expected a name that ends in .html or .png")
    if options.target.is_dir():
        if rest:
            parser.error(f"unrecognized arguments: {rest[0]}")
        write(options.out, *bank_pictures(options.target, options.count or 12))
    elif options.target.is_file():
        pairs = pairs_of_splits(options.target, rest, options.split or [None], options.count or 4, options.seed)
        write(options.out, *frame_pictures(pairs, options.target))
    else:
        raise InputError(f"{options.target}: no such file or folder; expected a bank's folder or an experiment's file")
    print(f"wrote {options.out}")
    return 0


Picture = tuple[str, bytes]  # caption, PNG


def write(out: Path, title: str, pictures: list[Picture], sheet: bytes) -> None:
    """Write the page with one figure a picture, or only the sheet when ``out`` is a PNG.

    Raises:
        InputError: the disk refuses.
    """
    if out.suffix == ".png":
        write_atomically(out, sheet)
        return
    from lit.leaderboard.page import show_page  # draws charts, too: not needed for a PNG

    write_atomically(out, show_page(title, pictures))


def bank_pictures(folder: Path, count: int) -> tuple[str, list[Picture], bytes]:
    """Title, one picture an object at eight yaws, and all of them on one sheet."""
    from datamodules.assets.bank import AssetBank

    bank = AssetBank(folder)
    assets = [bank[index] for index in range(min(count, len(bank)))]
    pictures = []
    for asset in assets:
        length, height, width = (float(v) for v in asset.dims)
        caption = f"{asset.id}: {asset.name}, {length:.2f} × {height:.2f} × {width:.2f} m (length, height, width)"
        pictures.append((caption, png(asset_sheet([asset]))))
    return f"{len(assets)} of {len(bank)} objects of {folder.name}, eight yaws", pictures, png(asset_sheet(assets))


def pairs_of_splits(
    config: Path, options: Sequence[str], splits: Sequence[str | None], count: int, seed: int
) -> list[tuple[Frame, Frame]]:
    """Frames of an experiment before and after its injection, of the splits one after the other, ``count`` in all.

    Raises:
        InputError: for anything ``fit`` would refuse, or an experiment without injection.
    """
    pairs: list[tuple[Frame, Frame]] = []
    for split in splits:
        pairs += injected_pairs(injecting_datamodule(config, options, split), count - len(pairs), seed)
    return pairs


def frame_pictures(pairs: list[tuple[Frame, Frame]], config: Path) -> tuple[str, list[Picture], bytes]:
    """Title, before and after of each frame, and the annotated frames on one sheet."""
    pictures = []
    for before, after in pairs:
        injected = int((after.objects.provenance != REAL).sum())
        caption = (
            f"{before.sample_id}: {injected} injected (orange), {len(before.objects)} labelled (blue); "
            f"labelled boxes {'unchanged' if real_boxes_unchanged(before, after) else 'CHANGED'}"
        )
        both = [annotated(before, boxes=False), annotated(after, boxes=False), annotated(after)]
        pictures.append((caption, png(stacked(both))))
    title = f"Injection of {config.name}, in frames as stored, without data.augment and data.size"
    return title, pictures, injected_sheet([after for _, after in pairs])


def real_boxes_unchanged(before: Frame, after: Frame) -> bool:
    """Whether every labelled box is still there, in order, with the same 3D box, 2D box and class."""
    kept = after.objects[after.objects.provenance == REAL]
    old = before.objects
    same = [
        (old.boxes.center, kept.boxes.center),
        (old.boxes.dims, kept.boxes.dims),
        (old.boxes.yaw, kept.boxes.yaw),
        (old.bbox, kept.bbox),
        (old.names, kept.names),
    ]
    return all(np.array_equal(a, b) for a, b in same)
