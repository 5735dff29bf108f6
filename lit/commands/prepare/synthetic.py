"""``prepare world``, ``surround``, ``posed`` and ``labelled``: write synthetic data."""

from __future__ import annotations

from lit.arguments import Arguments, add_workers, positive
from lit.commands.prepare.paths import typed_path


def _writer(command: str, description: str) -> Arguments:
    """The options that all of them share."""
    parser = Arguments(command, description)
    parser.add_argument("--root", type=typed_path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    add_workers(parser)
    return parser


def road_world(argv: list[str]) -> int:
    """Write a procedural road world as a KITTI folder."""
    parser = _writer("prepare world", "Writes a procedural road world as a true KITTI folder.")
    parser.add_argument("--train", type=positive, default=400, help="training frames (default 400)")
    parser.add_argument("--val", type=positive, default=300, help="validation frames (default 300)")
    parser.add_argument("--width", type=positive, default=320, help="image width in pixels (default 320)")
    parser.add_argument("--height", type=positive, default=96, help="image height in pixels (default 96)")
    options = parser.parse_args(argv)
    from datamodules.world.road_world import write_world

    write_world(**vars(options))
    print(f"wrote {options.root}: {options.train} training and {options.val} validation frames")
    return 0


def surround_world(argv: list[str]) -> int:
    """Write a procedural world seen by six cameras as a nuScenes folder."""
    parser = _writer("prepare surround", "Writes a procedural road world as a true nuScenes folder of six cameras.")
    parser.add_argument("--train-scenes", type=positive, default=6, help="training scenes (default 6)")
    parser.add_argument("--val-scenes", type=positive, default=2, help="validation scenes (default 2)")
    parser.add_argument(
        "--samples", dest="samples_per_scene", type=positive, default=6, help="a scene, at 2 Hz (default 6, at most 40)"
    )
    parser.add_argument("--width", type=positive, default=224, help="image width in pixels (default 224)")
    parser.add_argument("--height", type=positive, default=128, help="image height in pixels (default 128)")
    options = parser.parse_args(argv)
    from datamodules.world.surround.world import write_surround_world

    write_surround_world(**vars(options))
    scenes = f"{options.train_scenes} training and {options.val_scenes} validation scenes"
    print(f"wrote {options.root}: {scenes} of {options.samples_per_scene} samples")
    return 0


def posed_views(argv: list[str]) -> int:
    """Write posed views of the studio's cars, the training data of generators."""
    parser = _writer("prepare posed", "Writes posed object images: RGBA, depth, normals, parts and cameras.")
    parser.add_argument("--objects", type=positive, default=40, help="cars (default 40)")
    parser.add_argument("--views", type=positive, default=50, help="views a car (default 50)")
    parser.add_argument("--size", type=positive, default=64, help="image side in pixels (default 64)")
    _add_paints(parser)
    options = parser.parse_args(argv)
    from datamodules.objects.studio import write_posed_images

    settings = {name: value for name, value in vars(options).items() if name != "root"}
    write_posed_images(options.root, **settings)
    print(f"wrote {options.root}: {options.views} views of {options.objects} cars")
    return 0


def labelled_views(argv: list[str]) -> int:
    """Write pictures of the studio's cars with edge maps and part segmentations, as EG3D stores them."""
    about = "Writes pictures, edge maps, part segmentations and cameras of studio cars as EG3D's archives."
    parser = _writer("prepare labelled", about)
    parser.add_argument("--objects", type=positive, default=40, help="cars (default 40)")
    parser.add_argument("--views", type=positive, default=64, help="views a car (default 64)")
    parser.add_argument("--size", type=positive, default=64, help="image side in pixels (default 64)")
    parser.add_argument("--labels", choices=("edge", "seg", "both"), default="both", help="label maps (default both)")
    _add_paints(parser)
    parser.add_argument(
        "--elevation", type=float, nargs=2, default=(0.0, 30.0), metavar=("LOW", "HIGH"), help="degrees (default 0 30)"
    )
    options = parser.parse_args(argv)
    from datamodules.objects.labelled.studio_labels import write_labelled_views
    from datamodules.objects.labelled_views import LABEL_KINDS

    settings = {name: value for name, value in vars(options).items() if name not in ("root", "labels")}
    labels = LABEL_KINDS if options.labels == "both" else (options.labels,)
    write_labelled_views(options.root, **settings, labels=labels, progress=True)
    print(f"wrote {options.root}: {options.views} views of {options.objects} cars with {' and '.join(labels)} maps")
    return 0


def _add_paints(parser: Arguments) -> None:
    parser.add_argument(
        "--paints", choices=("studio", "street"), default="studio",
        help="studio: every hue (default); street: colours, glass and reflections of real streets",
    )  # fmt: skip
