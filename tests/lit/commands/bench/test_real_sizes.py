"""The bench of real sizes: its reference ends in the same labels and nearly the same pictures."""

from __future__ import annotations

import pytest

from lit.commands.bench import real_sizes


def test_the_reference_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the road world's frames at a size that a test can draw."""
    for name, value in (("FRAME_WIDTH", 320), ("FRAME_HEIGHT", 96), ("FRAMES", 3), ("ROUNDS", 1)):
        monkeypatch.setattr(real_sizes, name, value)
    monkeypatch.setattr(real_sizes, "SIZES", ((192, 640), (96, 320)))
    measured = real_sizes.measure()
    for height in (192, 96):
        assert measured[f"same_labels_{height}"]
        assert measured[f"psnr_{height}"] > 45
        assert measured[f"objects_{height}"] > 0
        assert measured[f"frame_{height}"] == f"{height} x {height * 10 // 3}"
        distance = [measured[f"distance_p{share}_{height}"] for share in real_sizes.SHARES]
        tall = [measured[f"height_p{share}_{height}"] for share in real_sizes.SHARES]
        assert 5 <= distance[0] <= distance[-1] <= 45
        assert 0 < tall[0] <= tall[-1] <= height
        assert (distance, tall) == (sorted(distance), sorted(tall))
        low, high = measured[f"injected_ms_quartiles_{height}"]
        assert 0 < low <= measured[f"injected_ms_{height}"] <= high
        assert measured[f"injected_over_decode_{height}"] > 0
