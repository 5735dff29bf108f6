"""What the losses of mmdetection3d's heads divide by, counted over all processes instead of on each.

The heads average over the positives of their own process, so that eight processes weigh an object in an empty street
eight times as much as one in a crowd; one process with the same pictures does not. A loss times its own count over the
mean count of all processes is a loss whose mean over processes is that of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from detectors.rank_counts import share_of

REST = "rest"  # of the losses, all of which divide by the positives


@contextmanager
def kept_targets(head: Any) -> Iterator[list[Any]]:
    """Collect what the head's ``get_targets`` returns meanwhile."""
    kept: list[Any] = []

    def get_targets(*args: Any, **kwargs: Any) -> Any:
        kept.append(type(head).get_targets(head, *args, **kwargs))
        return kept[-1]

    head.get_targets = get_targets
    try:
        yield kept
    finally:
        del head.get_targets


def anchor_counts(targets: Any, images: int, classes: int) -> dict[str, Tensor]:
    """Counts by loss of FCOS3D's and PGD's heads: cells of positives, and of these with images added for "cls".

    Args:
        targets: of one call of ``get_targets``: labels and, third, centernesses by level.
        images: of this process's batch.
        classes: the label of the background.
    """
    label, centerness = torch.cat(targets[0]), torch.cat(targets[2])
    positive = (label >= 0) & (label < classes)
    count = positive.sum().to(centerness)
    return {"cls": count + images, "attr": centerness[positive].sum(), REST: count}


def heatmap_counts(kept: list[Any]) -> dict[str, Tensor]:
    """Counts by loss of SMOKE's head: peaks for "cls", objects with a box to learn for the rest.

    Args:
        kept: what one call of ``get_targets`` returned; empty where this process has no object.
    """
    if not kept:
        return {"cls": torch.zeros(()), REST: torch.zeros(())}
    heatmap, _, labels = kept[0]
    peaks = heatmap.eq(1).sum().to(heatmap)
    return {"cls": peaks, REST: labels["reg_indices"].sum().to(heatmap)}


def over_ranks(losses: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Losses by name, each as if it were divided by the mean count of all processes; 0 where none counts anything.

    Args:
        losses: divided by this process's counts, or by 1 where a count is 0.
        counts: by loss, and the others' under :data:`REST`; all processes have the same names.
    """
    device = next(iter(losses.values())).device
    own = torch.stack([count.float().to(device) for count in counts.values()])
    share = share_of(own, 0.0)
    scale = torch.where(own > 0, own, 1.0) / share.clamp_min(1e-6) * (share > 0)
    factors = dict(zip(counts, scale))
    return {name: value * factors.get(name, factors[REST]) for name, value in losses.items()}
