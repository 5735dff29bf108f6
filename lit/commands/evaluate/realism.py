"""``python -m lit evaluate realism``: how well injected objects are told from real ones in an experiment's frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError
from datamodules.processes import track
from lit.arguments import Arguments
from lit.commands.report import report

if TYPE_CHECKING:
    from datamodules.base import DetectionDataModule
    from lit.metrics.realism.scores import Realism

SHEET_PAIRS = 24


def realism(argv: list[str]) -> int:
    """AUC of a small network between injected and real crops, and KID; lower is better, .5 and 0 are the floors."""
    parser = Arguments("evaluate realism", (realism.__doc__ or "") + " The experiment's options may follow.")
    parser.add_argument("-c", "--config", type=Path, required=True, help="the experiment's YAML file")
    parser.add_argument("--frames", type=int, metavar="N", help="training frames (default: all)")
    parser.add_argument("--passes", type=int, default=1, help="injections into each frame (1)")
    parser.add_argument("--classes", nargs="+", default=["Car"], help="classes of the objects (Car)")
    parser.add_argument("--min-height", type=float, default=20.0, help="least height of a 2D box, pixels (20)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the networks (0 1 2)")
    parser.add_argument("--extractor", default="random:0", help="of KID: random:SEED (default), inception, timm:NAME")
    parser.add_argument("--weights", metavar="FILE", help="the extractor's weights; nothing is downloaded")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="pairs side by side: real above, injected below")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    options, rest = parser.parse_known_args(argv)
    if (options.frames is not None and options.frames < 2) or options.passes < 1 or min(options.seeds) < 0:
        raise InputError(
            f"--frames {options.frames} --passes {options.passes} --seeds {options.seeds}: expected at least 2, 1, 0"
        )

    from lit.commands.injected_frames import injecting_datamodule  # imports torch: --help stays quick
    from lit.features.build import build_extractor
    from lit.metrics.realism import scores

    extractor = build_extractor(options.extractor, options.weights)
    datamodule = injecting_datamodule(options.config, rest)
    real, injected, groups = collected(datamodule, options.frames, options.passes, options.classes, options.min_height)
    found = scores.realism(real, injected, groups, options.seeds)
    metrics = {"auc": found.auc, "auc_low": found.low, "auc_high": found.high, "kid": kid(found, extractor)}
    figures = {
        "metrics": metrics,
        "by_seed": found.by_seed,
        "counts": {
            "real": len(real), "injected": len(injected), "pairs": len(found.pairs), "left_out": found.left_out,
            "groups": found.groups,
        },
        "options": {
            "frames": options.frames, "passes": options.passes, "classes": options.classes,
            "min_height": options.min_height, "seeds": options.seeds, "command": rest,
        },
        "extractor": extractor.name,
        "evaluator": {"name": "realism", "version": scores.VERSION},
    }  # fmt: skip
    if options.sheet:
        write_sheet(options.sheet, found)
    title = f"{len(found.pairs)} pairs of {found.groups} {'drives' if groups else 'frames'}"
    report(title, figures, options.out, metrics)
    return 0


def collected(
    datamodule: DetectionDataModule, frames: int | None, passes: int, classes: list[str], min_height: float
) -> tuple[list[Any], list[Any], dict[str, str]]:
    """Crops of labelled and of injected objects, and the drive of each frame where it is known."""
    from datamodules.kitti.drives import read_drives
    from lit.commands.injected_frames import injected_pairs
    from lit.metrics.realism.crops import crops_of

    real, injected, groups, ids = [], [], {}, []
    for turn in range(passes):
        pairs = injected_pairs(datamodule, frames, turn)
        for before, after in track(pairs, "frames", total=frames or len(datamodule.train_reader)):
            ids.append(before.sample_id)
            if before.capture is not None:
                groups[before.sample_id] = before.capture.scene
            if turn == 0:
                real += crops_of(before, False, classes, min_height)
            injected += crops_of(after, True, classes, min_height)
    if (root := getattr(datamodule, "root", None)) is not None and not groups:
        groups = read_drives(root, list(dict.fromkeys(ids)))
    return real, injected, groups


def kid(found: Realism, extractor: Any) -> float:
    """Kernel distance of the pairs' real and injected crops in the features of a network."""
    import torch

    from lit.metrics.image import kernel_distance

    sides = []
    for which in (0, 1):
        pixels = torch.stack([torch.from_numpy(pair[which].pixels) for pair in found.pairs])
        sides.append(torch.cat([extractor(part) for part in pixels.split(64)]))
    return kernel_distance(sides[0], sides[1])


def write_sheet(path: Path, found: Realism) -> None:
    """The first pairs, real crops above injected ones, in rows of eight."""
    import numpy as np

    from datamodules.files.atomic_files import write_atomically
    from lit.pictures.pictures import png, stacked

    shown = found.pairs[:SHEET_PAIRS]
    columns = [np.concatenate([real.pixels, injected.pixels], 1).transpose(1, 2, 0) for real, injected in shown]
    write_atomically(path, png(stacked(columns, columns=min(8, len(columns)), gap=0)))
