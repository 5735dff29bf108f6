"""A draw depends on its keys and on nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datamodules.randomness import derive

keys = st.lists(st.one_of(st.integers(0, 2**31), st.text(max_size=8)), max_size=4)


@given(seed=st.integers(0, 2**31), path=keys)
def test_same_keys_same_draws(seed: int, path: list[int | str]) -> None:
    assert derive(seed, *path).integers(0, 2**62, 4).tolist() == derive(seed, *path).integers(0, 2**62, 4).tolist()


def test_streams_differ() -> None:
    draws = {derive(0, epoch, "000001", stream).random() for epoch in range(10) for stream in ("augment", "injection")}
    assert len(draws) == 20
