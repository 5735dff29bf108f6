from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from datamodules.objects.labelled_views import class_weights
from lit.losses.labels import edge_loss, label_cross_entropy, labels_at
from lit.losses.regularisers import density_change

MISC = Path(os.environ.get("LIFTBENCH_ORACLES", "/nonexistent")) / "pix2pix3d" / "misc.npz"


def test_cross_entropy_is_a_mean_by_weight_and_brings_logits_to_the_labels_size() -> None:
    torch.manual_seed(0)
    logits, ids, weights = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8)), torch.tensor([1.0, 4.0, 0.0])
    each = F.cross_entropy(logits, ids, reduction="none")
    wanted = (each * weights[ids]).sum() / weights[ids].sum()
    assert torch.allclose(label_cross_entropy(logits, ids, weights), wanted)
    sharp = 20 * F.one_hot(torch.tensor([[[0, 1], [2, 0]]]), 3).permute(0, 3, 1, 2).float()
    corners = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0], [2, 2, 0, 0]]])
    assert label_cross_entropy(sharp, corners[:, [0, -1]][:, :, [0, -1]]) < 1e-3
    assert label_cross_entropy(sharp, corners) < 0.5  # interpolated between the corners


def test_edges_labels_at_and_density() -> None:
    rendered, edges = torch.full((1, 1, 4, 4), 0.5), torch.zeros(1, 1, 4, 4)
    assert edge_loss(rendered, edges).item() == pytest.approx(0.125)
    assert edge_loss(rendered, edges, squared=True).item() == pytest.approx(0.25)
    ids = torch.arange(36).view(1, 6, 6)
    assert labels_at(ids, 4)[0].tolist() == [[6 * i + j for j in (0, 1, 3, 4)] for i in (0, 1, 3, 4)]
    assert labels_at(edges, 2).shape == (1, 1, 2, 2)
    assert density_change(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])).item() == 1.5


def test_reference_answers() -> None:
    if not MISC.is_file():
        pytest.skip("LIFTBENCH_ORACLES names no folder of reference answers")
    misc = {key: torch.from_numpy(value) for key, value in np.load(MISC).items()}
    counts = 1 / misc["seg_weight_2"].double().numpy()  # the rule makes these weights of these frequencies
    for root, name in ((False, "seg_weight_2"), (True, "seg_weight_1")):
        assert np.allclose(class_weights(counts, root, 100.0), misc[name], rtol=2e-3)
    for side in (16, 24):
        for rule in (None, 1, 2):
            weights = None if rule is None else misc[f"seg_weight_{rule}"]
            found = label_cross_entropy(misc["ce_logits"], misc[f"ce_target_{side}"].long(), weights)
            assert found.item() == pytest.approx(float(misc[f"ce_weight_{rule}_target_{side}"]), rel=1e-4)
    for side in (64, 48, 32):
        assert torch.equal(labels_at(misc["label"], side), misc[f"label_nearest_{side}"])
