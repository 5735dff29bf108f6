"""``prepare dst-bank``: renders or generated images as an asset bank of posed views."""

from __future__ import annotations

from lit.arguments import Arguments
from lit.commands.prepare.paths import typed_path


def dst_bank(argv: list[str]) -> int:
    """Write a bank whose opacity is the renders'."""
    parser = Arguments("prepare dst-bank", "Writes renders, or images made of them, as a bank of posed views.")
    add = parser.add_argument
    off = (
        "degrees that a camera may be off a view, recorded; what draws from the bank has source.max_angle (default 15)"
    )
    add("--root", type=typed_path, required=True, help="folder of prepare dst-renders")
    add("--bank", type=typed_path, required=True, help="folder to write")
    add("--name", help="of the generated images (default: the renders themselves)")
    add("--filtered", action="store_true", help="only images that prepare dst-filter keeps")
    add("--max-elevation", type=float, default=30.0, help="degrees from the horizon of the views used (default 30)")
    add("--max-angle", type=float, default=15.0, help=off)
    add("--licence", default="unknown", help="recorded in the bank")
    options = parser.parse_args(argv)
    from datamodules.assets.bank_writer import AssetBankWriter
    from datamodules.errors import InputError
    from datamodules.processes import track
    from datamodules.renders.filtered import kept_images
    from datamodules.renders.generated import generated_images
    from datamodules.renders.render_set import RenderSet
    from datamodules.renders.view_bank import view_assets
    from lit.callbacks.bank_writer import hash_of

    if not 0 < options.max_angle <= 180:
        raise InputError(f"--max-angle {options.max_angle:g}: expected degrees in (0, 180]")
    renders, images = RenderSet.load(options.root), None
    if options.name is not None:
        images = generated_images(renders, options.name)
        if options.filtered:
            images = kept_images(images, options.root, options.name)
    elif options.filtered:
        raise InputError("--filtered: renders need no filter; give --name, or leave it out")
    config = {**renders.index.settings, "name": options.name, "filtered": options.filtered}
    config |= {"max_elevation": options.max_elevation, "max_angle": options.max_angle}
    weights = images[0].log.settings if images else ""
    count = 0
    with AssetBankWriter(options.bank, "dst", hash_of(config), weights, options.licence) as writer:
        for asset in track(view_assets(renders, images, options.max_elevation, options.max_angle), "objects"):
            writer.write(asset)
            count += 1
    print(f"wrote {options.bank}: {count} objects")
    if options.max_angle != 15.0:
        print(f"a bank does not hold --max-angle: set --data.injection.source.max_angle {options.max_angle:g}")
    return 0
