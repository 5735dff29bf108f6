from __future__ import annotations

import math

import torch

from lit.metrics.alignment import view_metrics


def test_metrics_of_known_views() -> None:
    target = torch.zeros(2, 8, 8, 4)
    target[:, :4] = torch.tensor([0.5, 0.5, 0.5, 1.0])
    rendered = target.clone()
    rendered[1, :4, :, :3] += 0.1
    rendered[1, 4:6] = torch.tensor([0.6, 0.6, 0.6, 1.0])  # two rows too many
    scores = view_metrics(rendered, target)
    assert float(scores["mask_iou"][0]) == 1
    assert abs(float(scores["mask_iou"][1]) - 4 / 6) < 1e-6
    assert float(scores["psnr"][0]) > 90
    black = (0.5 * 0.01 + 0.25 * 0.36) / 1  # 4 rows by 0.1, 2 rows by 0.6
    grey = 0.75 * 0.01
    wanted = -5 * (math.log10(black) + math.log10(grey))
    assert abs(float(scores["psnr"][1]) - wanted) < 1e-3
    assert abs(float(scores["psnr_object"][1]) - 20) < 1e-3
