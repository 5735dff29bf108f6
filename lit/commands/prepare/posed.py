"""``prepare posed``: writes posed views of the studio's cars."""

from __future__ import annotations

from lit.arguments import positive
from lit.commands.prepare.writer import writer


def posed(argv: list[str]) -> int:
    """Write posed views of the studio's cars, the training data of generators."""
    parser = writer("prepare posed", "Writes posed object images: RGBA, depth, normals, parts and cameras.")
    parser.add_argument("--objects", type=positive, default=40, help="cars (default 40)")
    parser.add_argument("--views", type=positive, default=50, help="views a car (default 50)")
    parser.add_argument("--size", type=positive, default=64, help="image side in pixels (default 64)")
    options = parser.parse_args(argv)
    from datamodules.objects.studio import write_posed_images

    settings = {name: value for name, value in vars(options).items() if name != "root"}
    write_posed_images(options.root, **settings)
    print(f"wrote {options.root}: {options.views} views of {options.objects} cars")
    return 0
