"""Several sources of assets as one, each with its share of the draws."""

from __future__ import annotations

import numpy as np

from datamodules.assets.contract import Asset, AssetSource, LabelledFrames, Wanted
from datamodules.errors import InputError
from datamodules.scene import Frame


class MixedSource(AssetSource):
    """Draws a source by weight, then one of its assets."""

    def __init__(self, sources: list[AssetSource], weights: list[float] | None = None) -> None:
        """Mix.

        Args:
            sources: what is mixed.
            weights: share of each source in the draws, in their order; they need not sum to one. By default equal.

        Raises:
            InputError: no source, or weights that are not as many, negative, or all zero.
        """
        chosen = np.array([1.0] * len(sources) if weights is None else weights, dtype=np.float64)
        if not sources or len(chosen) != len(sources):
            raise InputError(
                f"mixture of {len(sources)} sources with {len(chosen)} weights: expected a weight for each of at least"
                " one source; correct source.weights"
            )
        if not (np.isfinite(chosen).all() and (chosen >= 0).all() and chosen.sum() > 0):
            raise InputError(
                f"mixture weights {chosen.tolist()}: expected none below 0 and one above; correct source.weights"
            )
        self.sources, self.weights = sources, chosen / chosen.sum()
        self.needs_labels = any(source.needs_labels for source in sources)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for source in self.sources for name in source.classes))

    @property
    def pool(self) -> int | None:
        """All of the parts' together; None where one has no end of them."""
        pools = [source.pool for source in self.sources]
        known = [pool for pool in pools if pool is not None]
        return sum(known) if len(known) == len(pools) else None

    def bind(self, frames: LabelledFrames) -> None:
        for source in self.sources:
            source.bind(frames)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw a source, then one asset of it (:meth:`datamodules.assets.contract.AssetSource.sample`)."""
        return self.sources[int(rng.choice(len(self.sources), p=self.weights))].sample(rng, frame, wanted)
