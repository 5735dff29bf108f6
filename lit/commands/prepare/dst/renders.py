"""``prepare dst-renders``: annotated renders of CAD models or of the studio's objects, 3D-DST's first stage."""

from __future__ import annotations

import argparse
from collections import Counter

from datamodules.object_classes import CLASSES, object_class
from datamodules.renders.cad_models import LAYOUTS, CadModel, Layout
from datamodules.renders.viewpoints import VIEWPOINT_MODES
from lit.arguments import Arguments, add_workers, positive
from lit.commands.prepare.paths import typed_path


def scale(text: str) -> str | float:
    """ "class", "file" or metres, as an argparse type.

    Raises:
        ArgumentTypeError: for anything else.
    """
    if text in ("class", "file"):
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got '{text}', expected class, file, or metres of the longest side") from None


def dst_renders(argv: list[str]) -> int:
    """Render models with RGBA, depth, normals and annotations; a run that was stopped goes on where it was."""
    parser = Arguments("prepare dst-renders", "Renders CAD models with exact 3D annotations (3D-DST's first stage).")
    add = parser.add_argument
    add("--root", type=typed_path, required=True, help="folder to write")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cad", type=typed_path, help="folder of ShapeNet, Objaverse, OmniObject3D, or of CAD files")
    source.add_argument("--studio", nargs="+", metavar="CLASS", help="the suite's own objects: car van bicycle ...")
    add("--layout", choices=LAYOUTS, help="of --cad (default: recognised)")
    add("--list", type=typed_path, help="3D-DST's CSV: synset, model_id, distance, azimuth, elevation, ...")
    add("--synset", nargs="+", help="only these classes of --cad, by folder or by name")
    add("--models", type=positive, help="of each class, the first (default: all; 20 of --studio)")
    add("--views", type=positive, help="of each model (default 20)")
    add("--samples", type=positive, help="of each class in place of --views, shared evenly by its models")
    add("--size", type=positive, default=512, help="pixels a side (default 512, f = 560)")
    add("--mode", type=int, choices=sorted(VIEWPOINT_MODES), default=1, help="viewpoint mode (default 1)")
    add("--distance", type=float, default=2.2, help="of the camera, in the model's longest sides (default 2.2)")
    add("--vary-distance", action="store_true", help="truncated normal about it, 0.5 nearer to 1.5 farther")
    add("--max-polar", type=float, help="degrees, 90 is the horizon (default 95 for objects of the road, else 180)")
    add("--scale", type=scale, default="class", help="longest side: of the class (default), of the file, or metres")
    add("--textures", choices=("require", "grey"), default="require", help="what an .obj without its pictures gets")
    add("--forward", choices=("x", "-x", "y", "-y", "z", "-z"), help="the files' axis to the front")
    add("--up", choices=("x", "-x", "y", "-y", "z", "-z"), help="the files' axis to the roof")
    add("--on-error", choices=("stop", "skip"), default="stop", help="what a model that cannot be read does")
    add("--supersample", type=positive, default=2, help="rays a pixel and axis (default 2)")
    add("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    add_workers(parser)
    options = parser.parse_args(argv)
    from datamodules.renders.render_writer import RenderSettings, write_renders

    models, layout = _models(options)
    settings = RenderSettings(
        options.size,
        options.views or (None if options.samples else 20),
        options.samples,
        options.mode,
        options.distance,
        options.vary_distance,
        options.max_polar,
        options.scale,
        options.textures,
        options.forward,
        options.up,
        layout,
        options.supersample,
        options.seed,
    )
    found = write_renders(options.root, models, settings, options.workers, True, options.on_error)
    classes = Counter(model.name for model in found.index.models)
    told = ", ".join(f"{count} {name}" for name, count in sorted(classes.items()))
    print(f"wrote {options.root}: {len(found)} renders of {len(found.index.models)} models ({told})")
    if options.cad and options.scale == "class":
        for name in sorted({model.name for model in found.index.models} - CLASSES.keys()):
            longest = max(object_class(name).dims)
            print(f"{name}: no data set says its size, its longest side is {longest:g} m; or give --scale")
    for entry in found.index.left_out:
        print(f"left out {entry.synset}/{entry.model}: {entry.reason}")
    return 0


def _models(options: argparse.Namespace) -> tuple[list[CadModel], Layout]:
    """The chosen models, and the layout that says how their files stand."""
    from datamodules.errors import InputError, closest
    from datamodules.renders.cad_models import find_models, read_list, recognised
    from datamodules.renders.model_meshes import studio_models

    if options.studio:
        if options.list or options.layout or options.synset:
            raise InputError("--studio: expected without --list, --layout and --synset, which are of --cad")
        return studio_models(options.studio, options.models or 20), "files"
    layout = options.layout or recognised(options.cad)
    found = find_models(options.cad, layout)
    if options.list:
        found = read_list(options.list, found)
    if options.synset:
        known = {word for model in found for word in (model.synset, model.name)}
        for wanted in options.synset:
            if wanted not in known:
                raise InputError(
                    f"--synset {wanted}: no model of it{closest(wanted, known)}; choose of the collection's"
                )
        found = [model for model in found if {model.synset, model.name} & {*options.synset}]
    if options.models:
        taken: Counter[str] = Counter()
        chosen = []
        for model in found:
            taken[model.synset] += 1
            if taken[model.synset] <= options.models:
                chosen.append(model)
        found = chosen
    return found, layout
