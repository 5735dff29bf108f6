"""``prepare labelled-crops``: objects that an injection cuts out of labelled frames, as edge maps for a generator."""

from __future__ import annotations

from pathlib import Path

from datamodules.errors import InputError
from lit.arguments import Arguments, positive
from lit.commands.prepare.paths import typed_path

USAGE = """Writes crops on white, edge maps of them, cameras and metric sizes, as `predict` of pix2pix3D reads them.
The experiment's injection cuts them out of its training frames; its options may follow, as `fit` takes them:
--data.root DIR --data.injection conf/injection/recomposition.yaml"""


def main(argv: list[str]) -> int:
    """``python -m lit prepare labelled-crops --root DIR -c CONFIG``."""
    parser = Arguments("prepare labelled-crops", USAGE)
    parser.add_argument("--root", type=typed_path, required=True, help="folder to write")
    parser.add_argument("-c", "--config", type=Path, required=True, help="experiment, conf/experiment/kitti_small.yaml")
    parser.add_argument("--split", default="train", help="split whose frames are cut (default train)")
    parser.add_argument("--count", type=positive, default=200, help="most objects (default 200)")
    parser.add_argument("--size", type=positive, default=64, help="picture side in pixels (default 64)")
    options, rest = parser.parse_known_args(argv)
    from datamodules.objects.labelled.crop_labels import write_labelled_crops
    from lit.commands.injected_frames import injecting_datamodule

    if not options.config.is_file():
        raise InputError(f"{options.config}: no such file; expected an experiment, conf/experiment/kitti_small.yaml")
    injection = injecting_datamodule(options.config, rest, options.split).injection
    source = getattr(injection, "source", None)
    crops = getattr(source, "crops", None)
    if not crops:
        raise InputError(
            f"{options.config}: its injection's source is {type(source).__name__}, which cuts nothing out of frames;"
            " expected --data.injection conf/injection/recomposition.yaml or copy_paste.yaml"
        )
    chosen = crops[:: max(1, -(-len(crops) // options.count))]  # spread over the set
    write_labelled_crops(options.root, chosen, options.size, f"{options.split} labels of {options.config.name}")
    print(f"wrote {options.root}: {len(chosen)} of {len(crops)} objects with edge maps, cameras and sizes")
    return 0
