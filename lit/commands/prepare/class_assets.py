"""``prepare class-photos`` and ``prepare class-assets``: from a class's name to photographs, and to 3D assets."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import InputError, closest
from lit.arguments import Arguments, positive, usable_device
from lit.commands.prepare.paths import typed_path

if TYPE_CHECKING:
    from datamodules.objects.photos.photo import Photo
    from lit.generators.g3dr import G3DR
    from lit.generators.rgbd.samplers import RgbdSampler

BY = "conf/experiment/rgbd.yaml"
STATED = ("classes", "prompt", "count", "steps", "guidance", "min_area", "azimuth", "elevation", "dims", "seed")


def class_photos(argv: list[str]) -> int:
    """Draw photographs with depth as CLASS/NAME.png and NAME_depth.png, which conf/data/depth_images.yaml reads."""
    parser = Arguments("prepare class-photos", "Draws photographs with depth of classes by diffusion (G3DR's f_rgbd).")
    parser.add_argument("--root", type=typed_path, required=True, help="folder to write")
    parser.add_argument("--size", type=positive, help="pixels a side (default: as drawn)")
    _add_drawing(parser, count=64)
    options = parser.parse_args(argv)
    _require_drawing(options)
    from lit.generators.rgbd.pictures import write_rgbd

    sampler, total = _sampler(options), 0
    for _, photo in _photos(options, sampler, options.size):
        write_rgbd(photo, options.root)
        total += 1
    masks = str(sampler.masks).lower()
    print(f"wrote {options.root}: {total} photographs with depth; read them with data.masks {masks}")
    return 0


def class_assets(argv: list[str]) -> int:
    """From a class to voxel assets: photographs with depth by diffusion, and G3DR's field of each, baked."""
    parser = Arguments(
        "prepare class-assets",
        "Draws photographs with depth of classes, makes a field of each by G3DR, and bakes them into an asset bank. "
        "Options of the G3DR experiment may follow, as `fit` takes them.",
    )
    add = parser.add_argument
    add("--bank", type=typed_path, required=True, help="bank to write")
    add("--g3dr", type=typed_path, required=True, help="checkpoint of the G3DR experiment, runs/g3dr_small/last.ckpt")
    small = Path("conf/experiment/g3dr_small.yaml")
    add("-c", "--config", type=Path, default=small, help="that experiment (default conf/experiment/g3dr_small.yaml)")
    add("--root", type=typed_path, help="also keep the photographs there")
    add("--regressor", type=typed_path, help="of conf/experiment/pose_regressor.yaml: it finds each object's pose")
    add("--azimuth", type=float, default=0.0, help="without it: degrees all are seen from (default 0, the front)")
    add("--elevation", type=float, default=10.0, help="without it: degrees above the horizon (default 10)")
    add("--dims", type=float, nargs=3, metavar=("L", "H", "W"), help="metres of a box (default: the class's mean)")
    add("--licence", default="unknown", help="recorded in the bank")
    _add_drawing(parser, count=40)
    options, rest = parser.parse_known_args(argv)
    _require_drawing(options)
    from datamodules.assets.bank import AssetBankWriter
    from datamodules.objects.photos.photo import collate_photos
    from lit.callbacks.bank_writer import hash_of, weights_hash
    from lit.generators.rgbd.pictures import write_rgbd
    from lit.generators.rgbd.placed_box import PlacedBox
    from lit.proxies.pose_regressor import PoseRegressor

    regressor = None if options.regressor is None else PoseRegressor.load(options.regressor)
    box = PlacedBox(options.dims, options.azimuth, options.elevation, regressor)
    model, sampler = _g3dr(options, rest), _sampler(options)
    stated = {key: getattr(options, key) for key in STATED}
    config = hash_of({**stated, "rest": rest, "rgbd": sampler.digest, "model": dict(model.hparams)})
    about = ("g3dr", config, weights_hash(model), options.licence, options.seed)
    source = f"RGB-D diffusion {sampler.digest[:12]}"
    total = 0
    with AssetBankWriter(options.bank, *about, source=source) as writer:
        for words, photo in _photos(options, sampler, model.photo_size):
            if options.root is not None:
                write_rgbd(photo, options.root)
            named = replace(box.placed(photo), id=photo.id.rsplit("/", 1)[-1])
            (asset,) = model.predict_step(collate_photos([named]).to(options.device), 0)
            writer.write(asset, caption=words)
            total += 1
    print(f"bank: {options.bank}, {total} assets of {', '.join(options.classes)}")
    return 0


def _add_drawing(parser: argparse.ArgumentParser, count: int) -> None:
    """Options that say what is drawn."""
    add = parser.add_argument
    add("--rgbd", type=typed_path, required=True, help=f"checkpoint of {BY}, or a folder of LDM3D for diffusers")
    add("--class", dest="classes", nargs="+", required=True, metavar="NAME", help="classes, as folders are named")
    add("--prompt", help="text that is drawn, in place of the class's name (models of texts; one class)")
    add("--count", type=positive, default=count, help=f"of each class (default {count})")
    add("--batch", type=positive, default=16, help="pictures at a time; changes none of them (default 16)")
    add("--steps", type=positive, default=50, help="of the sampler (default 50)")
    add("--guidance", type=float, default=2.0, help="weight of the class; 1: as learned (default 2)")
    add("--segmenter", type=typed_path, help="cuts objects out where the model draws backgrounds: a checkpoint")
    add("--min-area", type=float, default=0.02, help="pictures that show less of an object are left out (default 0.02)")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add("--seed", type=int, default=0, help="same seed, same pictures (default 0)")


def _require_drawing(options: argparse.Namespace) -> None:
    """Refuse what cannot be drawn, before any weights are read.

    Raises:
        InputError: options out of range, or a device that is not there.
    """
    usable_device(options.device)
    if not 0 <= options.min_area < 1 or not 0 <= options.guidance <= 50:
        given = f"--min-area {options.min_area:g}, --guidance {options.guidance:g}"
        raise InputError(f"{given}: expected a share below 1, and 0 to 50")
    names = options.classes
    if options.prompt is not None and len(names) > 1:
        raise InputError(f"--prompt with {len(names)} classes: expected one, which the pictures are filed under")
    if len(set(names)) < len(names) or any("/" in name or name[:1] in "." for name in names):
        raise InputError(f"--class {' '.join(names)}: expected different names of folders")


def _sampler(options: argparse.Namespace) -> RgbdSampler:
    """The model that draws.

    Raises:
        InputError: weights that are missing or of something else, or that know no such class.
    """
    from lit.generators.rgbd.samplers import SegmentedSampler, open_sampler

    sampler = open_sampler(options.rgbd, options.device)
    _require_known(options, sampler.classes)
    if options.segmenter is None:
        return sampler
    from lit.commands.prepare.masks import class_rows
    from lit.proxies.torchvision_segmenter import load_segmenter

    segmenter = load_segmenter(options.segmenter)
    rows = class_rows(segmenter, ("object", "vehicle", *options.classes), options.segmenter)
    return SegmentedSampler(sampler, segmenter.to(options.device), rows)


def _require_known(options: argparse.Namespace, known: tuple[str, ...] | None) -> None:
    """Refuse what a model cannot be asked for, before anything is drawn.

    Raises:
        InputError: a class that it did not learn, or a text for one that learned classes.
    """
    if known is None:
        return
    if options.prompt is not None:
        raise InputError(
            f"--prompt {options.prompt!r}: {options.rgbd} learned classes, expected a model of texts; train one with "
            "--model.condition text"
        )
    if unknown := [name for name in options.classes if name not in known]:
        near = closest(unknown[0], known)
        raise InputError(f"--class {unknown[0]}: {options.rgbd} learned {', '.join(known)}{near}")


def _photos(options: argparse.Namespace, sampler: RgbdSampler, size: int | None) -> Iterator[tuple[str, Photo]]:
    """What each is asked for, and photographs at ``size`` pixels, one after the other."""
    from datamodules.processes import track
    from lit.generators.rgbd.pictures import FAR_SIDE, as_photo, resized_picture
    from lit.generators.rgbd.samplers import drawn_pictures

    for name in options.classes:
        words = options.prompt or name
        pictures = drawn_pictures(
            sampler, words, options.count, options.seed, options.batch, options.steps, options.guidance,
            options.min_area if sampler.masks else 0.0, FAR_SIDE,
        )  # fmt: skip
        for number, picture in track(pictures, name, total=options.count):
            yield words, as_photo(resized_picture(picture, size), f"{name}/{name}{number:06d}", name, sampler.masks)


def _g3dr(options: argparse.Namespace, rest: list[str]) -> G3DR:
    """The single-view network with its weights; its losses are not needed.

    Raises:
        InputError: no such checkpoint, or a configuration of something else.
    """
    from lit.commands.configured_model import configured_model
    from lit.generators.g3dr import G3DR

    if not options.g3dr.is_file():
        raise InputError(
            f"{options.g3dr}: no such file; expected a checkpoint of {options.config}; train one with it and give it "
            "as --g3dr"
        )
    chosen = [*rest, "--model.objective=null", f"--model.pretrained={options.g3dr}"]
    model = configured_model(options.config, chosen)
    if not isinstance(model, G3DR):
        raise InputError(f"{options.config}: its model is {type(model).__name__}, expected G3DR")
    return model.to(options.device).eval()
