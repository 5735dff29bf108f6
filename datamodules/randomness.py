"""All randomness of the suite comes from here: a generator is derived from what is drawn, never from who draws it."""

from __future__ import annotations

import zlib

import numpy as np

from datamodules.errors import InputError


def derive(seed: int, *keys: int | str) -> np.random.Generator:
    """Return the generator that belongs to ``(seed, *keys)``.

    The usual keys are the epoch and the sample id, then a stream name ("augment", "injection"), so that neither the
    number of workers nor of ranks changes a draw, and switching one stream off leaves the others as they were.

    Args:
        seed: the run's seed, >= 0.
        keys: integers (>= 0) or strings; strings enter by their CRC-32.

    Raises:
        InputError: a seed below 0.
    """
    if seed < 0:
        raise InputError(f"seed {seed}: expected 0 or more")
    entropy = [seed, *(zlib.crc32(key.encode()) if isinstance(key, str) else int(key) for key in keys)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
