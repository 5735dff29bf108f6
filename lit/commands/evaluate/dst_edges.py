"""``evaluate dst-edges``: whether generated images follow the edges they were drawn from."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from lit.arguments import Arguments
from lit.commands.prepare.paths import typed_path

VERSION = "1"
EDGE_REACH = 1  # pixels that an edge may be off: the decoder of latents moves edges by about that


def gradient_strength(rgb: np.ndarray) -> np.ndarray:
    """(S, S) uint8: the largest gradient of the three colours, Sobel's over 8, of an (S, S, 3) uint8 picture."""
    planes = rgb.astype(np.float32)
    across, down = (cv2.Sobel(planes, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    size = np.sqrt(across**2 + down**2).max(-1) / 8
    return np.rint(np.clip(size, 0, 255)).astype(np.uint8)


def forgiving(edges: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Strength (S, S) with each prompt's edge pixel given the strongest response within :data:`EDGE_REACH`."""
    near = cv2.dilate(strength, np.ones((2 * EDGE_REACH + 1, 2 * EDGE_REACH + 1), np.uint8))
    return np.where(edges > 0, near, strength)


def dst_edges(argv: list[str]) -> int:
    """Average precision of the images' edges against their own prompts, and against those of other renders."""
    parser = Arguments("evaluate dst-edges", "Whether generated images follow their edge prompts.")
    parser.add_argument("--root", type=typed_path, required=True, help="folder of prepare dst-renders")
    parser.add_argument("--name", nargs="+", required=True, help="of the images; several are compared")
    parser.add_argument("--out", type=typed_path, help="JSON file")
    options = parser.parse_args(argv)
    from datamodules.errors import InputError
    from datamodules.processes import track
    from datamodules.renders.generated import generated_images
    from datamodules.renders.render_set import RenderSet
    from datamodules.renders.text_prompts import PromptBook
    from datamodules.renders.visual_prompts import visual_prompt
    from lit.commands.report import report
    from lit.metrics.edge_precision import edge_counts, merge_counts, precision_of_counts

    renders = RenderSet.load(options.root)
    book = PromptBook(renders.root)
    figures: dict[str, Any] = {"evaluator": {"name": "dst-edges", "version": VERSION}}
    for name in options.name:
        images = generated_images(renders, name)
        prompts = [visual_prompt(image.render, "canny", book.thresholds(image.render))[..., 0] for image in images]
        own, other = [], []
        for number, image in enumerate(track(images, name)):
            pixels = image.read()
            if pixels.shape[:2] != prompts[number].shape:
                sizes = f"{pixels.shape[1]} pixels a side, its prompt {prompts[number].shape[1]}"
                raise InputError(f"{image.path}: {sizes}; draw images of the renders' size to compare them")
            found, far = gradient_strength(pixels), prompts[(number + len(images) // 2) % len(images)]
            own.append(edge_counts(forgiving(prompts[number], found), prompts[number] > 0))
            other.append(edge_counts(forgiving(far, found), far > 0))
        figures |= {
            f"{name}/images": len(images),
            f"{name}/edge_ap": precision_of_counts(merge_counts(own)),
            f"{name}/edge_ap_of_other_prompts": precision_of_counts(merge_counts(other)),
        }
    report("edges followed", figures, options.out)
    return 0
