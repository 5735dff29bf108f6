"""``prepare class-images``: pictures by class with poses, of the studio's objects, or of renders to pretrain on."""

from __future__ import annotations

import argparse

from lit.arguments import Arguments, add_workers, positive
from lit.commands.prepare.paths import typed_path

OF_STUDIO = ("train_objects", "test_objects", "views", "mode", "distance", "roll", "supersample")


def class_images(argv: list[str]) -> int:
    """Write a class image set in ImageNet's folder layout, poses beside the pictures."""
    parser = Arguments(
        "prepare class-images", "Writes pictures by class with poses: SPLIT/CLASS/PICTURE.png, poses.json."
    )
    add = parser.add_argument
    add("--root", type=typed_path, required=True, help="folder to write")
    add("--studio", nargs="+", metavar="CLASS", help="the suite's own objects (default car van bicycle pedestrian)")
    add("--train-objects", type=positive, help="of each class in the split train (default 20)")
    add("--test-objects", type=positive, help="of each class in id, light, occlusion, shape and weather (default 15)")
    add("--views", type=positive, help="pictures of each object (default 4)")
    add("--mode", type=int, help="viewpoint mode, as in prepare dst-renders (default 1)")
    add("--distance", type=float, help="of the camera, in the object's longest sides (default 1.5)")
    add("--roll", type=float, help="spread of the camera's roll, degrees (default 5)")
    add("--supersample", type=positive, help="rays a pixel and axis (default 2)")
    add("--renders", type=typed_path, help="folder of prepare dst-renders, whose pictures become the split train")
    add("--name", help="of the images generated from them (default: the renders themselves)")
    add("--filtered", action="store_true", help="only images that prepare dst-filter keeps")
    add("--size", type=positive, help="pixels a side (default 64; of renders their own)")
    add("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    add_workers(parser)
    options = parser.parse_args(argv)
    from datamodules.errors import InputError

    given = [name for name in ("studio", *OF_STUDIO) if getattr(options, name) is not None]
    if options.renders is not None and given:
        raise InputError(f"--{given[0].replace('_', '-')} with --renders: expected one of both; leave the first out")
    if options.renders is None and (options.name is not None or options.filtered):
        raise InputError("--name and --filtered are of --renders DIR; give it, or leave them out")
    if options.seed < 0:
        raise InputError(f"--seed {options.seed}: expected 0 or more")
    found = _of_studio(options) if options.renders is None else _of_renders(options)
    told = ", ".join(f"{count} {split}" for split, count in found.items())
    print(f"wrote {options.root}: pictures by class ({told})")
    return 0


def _of_studio(options: argparse.Namespace) -> dict[str, int]:
    from datamodules.recognition.class_writer import ClassSetSettings, write_class_images

    stated = {name: getattr(options, name) for name in (*OF_STUDIO, "size") if getattr(options, name) is not None}
    stated |= {"classes": tuple(options.studio)} if options.studio else {}
    settings = ClassSetSettings(**stated, seed=options.seed)
    return write_class_images(options.root, settings, options.workers, progress=True).splits


def _of_renders(options: argparse.Namespace) -> dict[str, int]:
    from datamodules.errors import InputError
    from datamodules.recognition.class_writer import write_class_renders
    from datamodules.renders.filtered import kept_images
    from datamodules.renders.generated import generated_images
    from datamodules.renders.render_set import RenderSet

    renders, images = RenderSet.load(options.renders), None
    if options.name is not None:
        images = generated_images(renders, options.name)
        if options.filtered:
            images = kept_images(images, options.renders, options.name)
    elif options.filtered:
        raise InputError("--filtered: renders need no filter; give --name, or leave it out")
    return write_class_renders(options.root, renders, images, options.size, options.seed, progress=True).splits
