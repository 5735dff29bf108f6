"""``python -m lit evaluate images``: FID, KID, Inception score, precision and recall of two sets of image files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError
from datamodules.processes import progress_bar
from lit.arguments import Arguments, usable_device
from lit.commands.report import report

if TYPE_CHECKING:
    from torch import Tensor

    from lit.features.extractors import FrozenExtractor

METRICS = ("fid", "kid", "is", "pr")
SUBSETS, SUBSET_SIZE, SPLITS, NEIGHBOUR = 100, 1000, 10, 3  # what the papers use


def images(argv: list[str]) -> int:
    """FID, KID, IS, precision and recall of generated against real images (folders, zip or npz)."""
    parser = Arguments("evaluate images", "Image quality of a generated against a real set: folders, .zip or .npz.")
    parser.add_argument("--real", required=True, metavar="DIR", help="real images: folder, .zip or .npz")
    parser.add_argument("--fake", required=True, metavar="DIR", help="generated images: folder, .zip or .npz")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=["fid", "kid"], help="default: fid kid")
    parser.add_argument(
        "--extractor", default="inception", help="inception (default), timm:NAME, open_clip:NAME or random:SEED"
    )
    parser.add_argument("--weights", metavar="FILE", help="the extractor's weights; nothing is downloaded")
    parser.add_argument(
        "--resize", choices=("torchfidelity", "cleanfid"), help="of inception: as TensorFlow 1 (default), or clean-fid"
    )
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="images at a time (64)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--seed", type=int, default=0, help="of the KID subsets (0)")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the figures")
    options = parser.parse_args(argv)
    if options.batch < 1 or options.seed < 0:
        raise InputError(f"--batch {options.batch} --seed {options.seed}: expected at least 1 and 0")
    result = evaluate_images(
        options.real,
        options.fake,
        list(dict.fromkeys(options.metrics)),
        (options.extractor, options.weights, options.resize),
        options.batch,
        options.device,
        options.seed,
    )
    counts, shown = result["counts"], {name.split("/")[0]: value for name, value in result["metrics"].items()}
    title = f"{counts['fake']} generated, {counts['real']} real images\n{result['extractor']['name']}"
    report(title, result, options.out, shown)
    return 0


def evaluate_images(
    real: str,
    fake: str,
    metrics: list[str],
    extractor: tuple[str, str | None, str | None],
    batch: int = 64,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Score two sets of image files; the images are streamed, only their features stay in memory.

    Args:
        real: folder, zip or npz of real images.
        fake: the same of generated images.
        metrics: of :data:`METRICS`.
        extractor: arguments of :func:`lit.features.build.build_extractor`.
        batch: images at a time.
        device: torch device of the extractor.
        seed: of the KID subsets.

    Returns:
        ``metrics`` (flat figures), ``counts``, ``extractor``, ``evaluator`` and ``options``.

    Raises:
        InputError: unreadable images, an unusable extractor, or sets too small for a metric.
    """
    from lit.features.build import build_extractor
    from lit.metrics.image.files import open_images
    from lit.metrics.image.scores import VERSION, frechet_distance, inception_scores, kernel_distances, precision_recall

    target = usable_device(device)
    sources = {"real": open_images(real), "fake": open_images(fake)}
    for source in sources.values():
        if source.left_out:
            print(f"warning: {source.path}: {source.left_out} files are no images and were left out")
    counts = {side: len(source) for side, source in sources.items()}
    network = build_extractor(*extractor).to(target)
    _check_counts(counts, metrics, network.name, network.classes)
    features: dict[str, Tensor] = {}
    probs = None
    with progress_bar() as progress:
        for side, source in sources.items():
            task = progress.add_task({"real": "real", "fake": "generated"}[side], total=counts[side])
            found, logits = _features(source, network, batch, target, lambda n, t=task: progress.advance(t, n))
            features[side] = found
            probs = logits.double().softmax(1) if side == "fake" and logits is not None else probs
    figures: dict[str, float] = {}
    size = min(SUBSET_SIZE, *counts.values())
    if "fid" in metrics:
        figures["fid"] = frechet_distance(features["real"], features["fake"])
    if "kid" in metrics:
        values = kernel_distances(features["real"], features["fake"], SUBSETS, size, seed)
        figures["kid"], figures["kid_std"] = float(values.mean()), float(values.std())
    if "is" in metrics and probs is not None:
        values = inception_scores(probs, SPLITS)
        figures["is"], figures["is_std"] = float(values.mean()), float(values.std())
    if "pr" in metrics:
        figures["precision"], figures["recall"] = precision_recall(features["real"], features["fake"], NEIGHBOUR)
    settings = {"kid_subsets": SUBSETS, "kid_subset_size": size, "is_splits": SPLITS, "pr_neighbour": NEIGHBOUR}
    return {
        "metrics": {f"{name}/{network.name}": value for name, value in figures.items()},
        "counts": counts,
        "extractor": {"name": network.name, "version": network.version, "dims": network.dims},
        "evaluator": {"name": f"images/{network.name}", "version": f"{VERSION}+{network.version}"},
        "options": {"real": real, "fake": fake, **settings, "seed": seed},
    }


def _features(
    source: Any, network: FrozenExtractor, batch: int, device: Any, advance: Any
) -> tuple[Tensor, Tensor | None]:
    """Features (N, d) and logits (N, C) of a set on the CPU, in its sorted order."""
    import torch

    from lit.metrics.image.files import batches

    positions: list[int] = []
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for where, pixels in batches(source, batch):
        found, logits = network.both(pixels.to(device))
        parts[0].append(found.cpu())
        if logits is not None:
            parts[1].append(logits.cpu())
        positions += where
        advance(len(where))
    order = torch.argsort(torch.tensor(positions))
    return torch.cat(parts[0])[order], torch.cat(parts[1])[order] if parts[1] else None


def _check_counts(counts: dict[str, int], metrics: list[str], name: str, classes: int) -> None:
    """Refuse what the metrics would refuse, before the hours that features can take."""
    least = {"fid": 2, "kid": 2, "is": 0, "pr": NEIGHBOUR + 1}
    for side, count in counts.items():
        for metric in metrics:
            needed = SPLITS if metric == "is" and side == "fake" else least[metric]
            if count < needed:
                raise InputError(f"--{side} holds {count} images: {metric} needs at least {needed}; add images")
    if "is" in metrics and not classes:
        raise InputError(f"--metrics is: {name} has no logits; use inception, or leave 'is' out")
