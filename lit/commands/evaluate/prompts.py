"""``evaluate prompts``: whether pictures drawn by texts show what was asked, as CLIP sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError
from lit.arguments import Arguments, positive, usable_device
from lit.commands.prepare.paths import named_path, typed_path

if TYPE_CHECKING:
    from torch import Tensor

DRAWN_FORM = "TEXT=FOLDER of pictures in class folders, as prepare class-photos writes"
GREY = 0.5  # behind objects that are cut out


def prompts(argv: list[str]) -> int:
    """Of each picture, whether the text it was drawn by is the nearest of all texts given (R-precision)."""
    parser = Arguments(
        "evaluate prompts", "R-precision of pictures drawn by texts: how often CLIP names their own text."
    )
    add = parser.add_argument
    add("--drawn", type=named_path(DRAWN_FORM), nargs="+", required=True, metavar="TEXT=DIR", help=DRAWN_FORM)
    add(
        "--weights",
        required=True,
        metavar="FILE",
        help="CLIP's: open_clip's, or those of conf/experiment/clip_studio.yaml",
    )
    add("--model", default="ViT-B-16", help="open_clip's name of other weights than the suite's (default ViT-B-16)")
    add("--batch", type=positive, default=64, help="pictures at a time (default 64)")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add("--out", type=typed_path, help="JSON file")
    options = parser.parse_args(argv)
    texts = [text for text, _ in options.drawn]
    if len(set(texts)) < len(texts) or len(texts) < 2:
        raise InputError(f"--drawn {', '.join(texts)}: expected two different texts or more, to choose from")
    from rich.table import Table

    from lit.commands.report import tell

    chosen, stated = choices(options.drawn, options.model, options.weights, options.batch, options.device)
    right = {text: chosen[text].count(own) for own, text in enumerate(texts)}
    pictures = sum(map(len, chosen.values()))
    figures: dict[str, Any] = {
        "r_precision": sum(right.values()) / pictures,
        "chance": 1 / len(texts),
        "pictures": pictures,
        "of_text": {text: right[text] / len(chosen[text]) for text in texts},
        "named": {text: {texts[row]: chosen[text].count(row) for row in sorted({*chosen[text]})} for text in texts},
        "evaluator": {"name": f"R-precision by {stated}", "version": "prompts-1"},
    }
    shown = Table(
        "text",
        "pictures",
        "named rightly",
        title=f"R-precision {figures['r_precision']:.3f}, chance {figures['chance']:.3f}",
    )
    for text in texts:
        shown.add_row(text, str(len(chosen[text])), f"{figures['of_text'][text]:.3f}")
    tell(shown, figures, options.out)
    return 0


def choices(
    drawn: list[tuple[str, Path]], model: str, weights: str, batch: int, device: str
) -> tuple[dict[str, list[int]], str]:
    """Text to the number of the nearest text for each of its pictures, and what chose.

    Raises:
        InputError: no pictures, or weights that are missing or of another kind.
    """
    import torch
    from open_clip import SimpleTokenizer  # type: ignore[import-untyped]  # ships no type information

    from lit.features.pretrained import clip_preprocess
    from lit.generators.rgbd.conditions import text_tower
    from lit.weights.files import digest

    target = usable_device(device)
    network, _ = text_tower(model, weights, None)
    network = network.to(target).eval()
    preprocess, tokenizer = clip_preprocess(network).to(target), SimpleTokenizer(context_length=network.context_length)
    found: dict[str, list[int]] = {}
    with torch.no_grad():
        ids = tokenizer([text for text, _ in drawn]).to(target)
        said = network.encode_text(ids, normalize=True)
        for text, folder in drawn:
            rows: list[int] = []
            pictures = pictures_on_grey(folder)
            for start in range(0, len(pictures), batch):
                seen = network.encode_image(preprocess(pictures[start : start + batch].to(target)), normalize=True)
                rows += (seen @ said.T).argmax(1).tolist()
            found[text] = rows
    return found, f"open_clip {digest(Path(weights))[:12]}"


def pictures_on_grey(folder: Path) -> Tensor:
    """(N, 3, S, S) uint8 of all pictures in a folder's class folders, on grey where they are cut out.

    Raises:
        InputError: there are none, one is damaged, or they are of different sizes.
    """
    import cv2
    import numpy as np
    import torch

    from datamodules.images import read_image
    from datamodules.objects.photos.depth_images import photo_paths

    found = []
    for path in photo_paths(folder):
        stored = read_image(folder / path, cv2.IMREAD_UNCHANGED)
        if stored.dtype != np.uint8:
            raise InputError(f"{folder / path}: 16 bits a channel, expected 8; convert it")
        planes = stored[None] if stored.ndim == 2 else stored
        colour = planes[2::-1] if len(planes) > 2 else planes[:1].repeat(3, 0)  # files come as blue, green, red
        alpha = planes[3:4] / 255 if len(planes) == 4 else 1.0
        found.append(np.rint(colour * alpha + 255 * GREY * (1 - alpha)).astype(np.uint8))
        if found[-1].shape != found[0].shape:
            size, first = ("x".join(map(str, one.shape[1:])) for one in (found[-1], found[0]))
            raise InputError(f"{folder / path}: {size} pixels, expected {first} as the first; write all in one size")
    return torch.from_numpy(np.stack(found))
