"""``prepare depth``: estimate the depth of photographs and keep it beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lit.arguments import Arguments
from lit.commands.prepare.paths import typed_path

if TYPE_CHECKING:
    from lit.proxies.depth_estimator import DepthEstimator


def depth(argv: list[str]) -> int:
    """Write ``NAME_depth.png`` of 16 bits beside every photograph that has none."""
    parser = Arguments("prepare depth", "Estimates the depth of CLASS/NAME.png and writes NAME_depth.png beside each.")
    parser.add_argument("--root", type=typed_path, required=True, help="folder of photographs, CLASS/NAME.png or .jpg")
    parser.add_argument("--network", required=True, metavar="DIR", help="depth network of transformers, a folder")
    parser.add_argument("--metric", action="store_true", help="it answers with depth (ZoeDepth), not with disparity")
    options = parser.parse_args(argv)
    from lit.proxies.depth_estimator import TransformersDepth

    written = write_estimates(options.root, TransformersDepth(options.network, not options.metric))
    print(f"wrote {written} depth maps below {options.root}; those that were there stay")
    return 0


def write_estimates(root: Path, estimator: DepthEstimator) -> int:
    """Estimate what is missing; how many maps were written.

    Args:
        root: folder of photographs.
        estimator: asked photograph by photograph.

    Raises:
        InputError: no photographs, a damaged one, or an estimate of which no depth can be made.
    """
    from datamodules.images import read_image
    from datamodules.objects.photos.depth_files import write_depth
    from datamodules.objects.photos.depth_images import photo_paths, without_depth
    from datamodules.processes import track
    from lit.proxies.depth_estimator import stored_depth

    missing = [root / path for path in without_depth(root, photo_paths(root))]
    for path in track(missing, "depth"):
        image = torch.from_numpy(read_image(path).copy())
        write_depth(path, stored_depth(estimator(image[None])[0].cpu().numpy(), estimator.inverse))
    return len(missing)
