"""Where the trainer's half precision has no place: geometry, averages and what has too small a range for it."""

from __future__ import annotations

import torch


def full_precision(device: torch.device) -> torch.autocast:
    """Context without autocast: what half precision has too few digits or too small a range for."""
    return torch.autocast(device.type, enabled=False)
