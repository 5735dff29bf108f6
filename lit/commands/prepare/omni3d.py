"""``prepare omni3d``: files of Omni3D of a KITTI folder, the road world, or a nuScenes folder."""

from __future__ import annotations

from lit.arguments import Arguments
from lit.commands.prepare import kitti
from lit.commands.prepare.paths import typed_path


def omni3d(argv: list[str]) -> int:
    """Write files of Omni3D (Cube R-CNN's format) of a folder; its pictures stay where they are."""
    parser = Arguments("prepare omni3d", "Writes Omni3D's JSON files of a KITTI or nuScenes folder; copies no picture.")
    parser.add_argument(
        "--root", type=typed_path, required=True, help="KITTI folder (or road world), or nuScenes folder"
    )
    parser.add_argument("--out", type=typed_path, metavar="DIR", help="where the files go (default ROOT/omni3d)")
    parser.add_argument("--splits", nargs="+", default=["train", "val"], help="one file each (default train val)")
    parser.add_argument("--name", default="", help="begins the files' names, as KITTI in KITTI_train.json")
    parser.add_argument(
        "--dataset-id", type=number, default=0, metavar="N", help="of files that are read together, each its own (0)"
    )
    parser.add_argument("--version", metavar="VERSION", help="of a nuScenes folder, such as v1.0-trainval")
    parser.add_argument(
        "--cameras", nargs="+", metavar="CAM", help="of a nuScenes folder (default CAM_FRONT, as in Omni3D)"
    )
    parser.add_argument(
        "--class-map", type=kitti.renaming, nargs="+", default=[], metavar="NAME=CLASS", help="of KITTI labels: car=Car"
    )
    options = parser.parse_args(argv)
    if options.cameras is not None and options.version is None:
        parser.error("--cameras without --version: cameras are a nuScenes folder's")
    stems = [split if not split.endswith(".txt") else typed_path(split).stem for split in options.splits]
    if len(set(stems)) < len(stems):  # of files of scene names, too: each split is written to a file of its name
        parser.error(f"--splits {' '.join(options.splits)}: expected each split once")
    from datamodules.omni3d.sources import kitti_split, nuscenes_split
    from datamodules.omni3d.writer import write_split
    from datamodules.processes import track

    images, annotations = 0, 0
    for split, stem in zip(options.splits, stems):
        file = f"{options.name}_{stem}.json" if options.name else f"{stem}.json"
        if options.version is not None:
            cameras = tuple(options.cameras or ["CAM_FRONT"])
            pictures = nuscenes_split(options.root, options.version, split, cameras)
        else:
            pictures = kitti_split(options.root, split, dict(options.class_map))
        written = write_split(
            (options.out or options.root / "omni3d") / file,
            track(pictures, f"Omni3D {split}"),
            options.root,
            split=stem,
            name=options.name or options.root.resolve().name,
            dataset_id=options.dataset_id,
            first=(images, annotations),
        )
        images, annotations = images + written.images, annotations + sum(written.annotations.values())
        print(written)
    return 0


def number(text: str) -> int:
    """A data set's number, as an argparse type.

    Raises:
        ValueError: for anything else.
    """
    value = int(text)
    if not 0 <= value < 1000:
        raise ValueError(text)
    return value
