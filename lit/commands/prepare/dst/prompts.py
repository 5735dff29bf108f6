"""``prepare dst-prompts``: edges, depth and normals as visual prompts of renders, and their text prompts."""

from __future__ import annotations

from lit.arguments import Arguments, add_workers
from lit.commands.prepare.paths import typed_path


def dst_prompts(argv: list[str]) -> int:
    """Write visual prompts beside the renders and ``prompts.json`` beside their models."""
    parser = Arguments("prepare dst-prompts", "Writes visual and text prompts of annotated renders.")
    add = parser.add_argument
    add("--root", type=typed_path, required=True, help="folder of prepare dst-renders")
    add("--visual", nargs="*", choices=("canny", "depth", "normal"), default=["canny"], help="kinds (default canny)")
    add("--canny", type=float, nargs=2, default=(100.0, 200.0), metavar=("LOW", "HIGH"), help="default 100 200")
    add("--captions", type=typed_path, help="CSV of class and caption to draw from, in place of templates")
    add("--language-model", type=typed_path, help="folder of a causal language model that continues the prompts")
    add("--negative", help="what images shall not show (default: 3D-DST's words)")
    add("--seed", type=int, default=0, help="of the draws (default 0)")
    add_workers(parser)
    options = parser.parse_args(argv)
    from datamodules.renders.render_set import RenderSet
    from datamodules.renders.text_prompts import NEGATIVE, write_text_prompts
    from datamodules.renders.visual_prompts import write_visual_prompts

    renders, complete = RenderSet.load(options.root), None
    if options.language_model is not None:
        from lit.generators.dst.language_prompts import LanguageCompleter

        complete = LanguageCompleter(options.language_model)
    negative = NEGATIVE if options.negative is None else options.negative
    thresholds = (options.canny[0], options.canny[1])
    texts = write_text_prompts(renders, options.seed, options.captions, complete, negative, thresholds)
    seen = write_visual_prompts(renders, tuple(options.visual), thresholds, options.workers, progress=True)
    print(f"wrote {texts} text prompts and {seen} visual prompts into {options.root}")
    return 0
