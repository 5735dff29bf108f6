"""``prepare filter-images``: the photographs that are most typical of their classes (3DGP's filter)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from datamodules.errors import InputError
from lit.arguments import Arguments, positive
from lit.commands.prepare.paths import typed_path

REGULARISER = 1e-5  # added to each class's covariance


def filter_images(argv: list[str]) -> int:
    """Write a list of the likeliest photographs of every class, for ``data.keep``."""
    parser = Arguments(
        "prepare filter-images",
        "Lists the photographs whose features are likeliest under a Gaussian of their class (3DGP keeps a third).",
    )
    parser.add_argument("--root", type=typed_path, required=True, help="folder of photographs, CLASS/NAME.png or .jpg")
    parser.add_argument("--out", type=typed_path, required=True, metavar="FILE.txt", help="list to write")
    parser.add_argument("--share", type=float, default=1 / 3, help="share that is kept of every class (default 1/3)")
    parser.add_argument("--extractor", default="inception", help="features: inception, timm:NAME, random:SEED, ...")
    parser.add_argument("--weights", help="file of the extractor's weights")
    parser.add_argument("--size", type=positive, default=256, help="pixels that photographs are read at (default 256)")
    options = parser.parse_args(argv)
    if not 0 < options.share <= 1:
        raise InputError(f"--share {options.share}: expected above 0, at most 1")
    from datamodules.files.atomic_files import write_atomically
    from datamodules.objects.photos.depth_images import photo_paths
    from datamodules.processes import track
    from lit.features.build import build_extractor

    extractor, paths = build_extractor(options.extractor, options.weights), photo_paths(options.root)
    features = []
    for path in track(paths, "features"):
        features.append(extractor(_picture(options.root / path, options.size))[0].cpu().numpy())
    kept = typical(np.stack(features), np.array([path.parent.name for path in paths]), options.share)
    names = [path.with_suffix("").as_posix() for path, chosen in zip(paths, kept) if chosen]
    write_atomically(options.out, "\n".join(names) + "\n")
    print(f"{options.out}: {len(names)} of {len(paths)} photographs; give it as data.keep")
    return 0


def typical(features: np.ndarray, classes: np.ndarray, share: float) -> np.ndarray:
    """(N,) bool, whether a photograph is among the likeliest of its class under the class's own Gaussian.

    Source: Skorokhodov et al., "3D generation on ImageNet" (3DGP), ICLR 2023: covariance plus 1e-5 times the identity.

    Args:
        features: (N, D).
        classes: (N,) names.
        share: that is kept, at least one photograph of every class.
    """
    kept = np.zeros(len(features), np.bool_)
    for name in np.unique(classes):
        rows = np.flatnonzero(classes == name)
        centred = features[rows].astype(np.float64) - features[rows].mean(0, dtype=np.float64)
        # The determinant is the same for a whole class, so the distance decides. Woodbury's identity: n x n, not D x D.
        inner, scale = centred @ centred.T, max(len(rows) - 1, 1) * REGULARISER
        distance = np.diag(np.linalg.solve(inner + scale * np.eye(len(rows)), inner))
        order = np.argsort(distance, kind="stable")
        kept[rows[order[: max(1, round(share * len(rows)))]]] = True
    return kept


def _picture(path: Path, size: int) -> torch.Tensor:
    """(1, 3, S, S) uint8, the middle square."""
    from datamodules.images import read_image
    from datamodules.objects.photos.depth_images import middle_square

    image = np.ascontiguousarray(read_image(path).transpose(1, 2, 0))
    return torch.from_numpy(middle_square(image, size).transpose(2, 0, 1).copy())[None]
