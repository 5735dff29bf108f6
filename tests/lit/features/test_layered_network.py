"""Feature maps by layer: torchvision's, by name, differentiable in the images and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from datamodules.errors import InputError
from lit.features.layered_network import map_distance, random_layers, trunk


@pytest.mark.parametrize(("name", "read", "ends"), [
    ("vgg16", ("relu1_2", "relu4_3", "relu5_1"), (4, 23, 26)),
    ("alexnet", ("relu1", "relu5"), (2, 12)),
])  # fmt: skip
def test_named_layers_are_torchvisions(tmp_path: Path, name: str, read: tuple[str, ...], ends: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    torch.save(model.features.state_dict(prefix="features."), tmp_path / "weights.pth")
    network = trunk(name, str(tmp_path / "weights.pth"), read)
    assert len(network) == ends[-1]  # what lies deeper is not even built
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    maps = network.maps(images)
    for found, end in zip(maps, ends, strict=True):
        torch.testing.assert_close(found, model.features[:end]((images - network.mean) / network.std))
    maps[-1].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not [p for p in network.parameters() if p.requires_grad]
    with pytest.raises(InputError, match=r"layer 'relu9': expected some of relu1.*, relu5"):
        trunk(name, str(tmp_path / "weights.pth"), ("relu9",))


def test_random_layers_are_their_seed() -> None:
    images = torch.rand(2, 3, 16, 16)
    first, same, other = (random_layers(seed).maps(images) for seed in (3, 3, 4))
    assert [tuple(x.shape) for x in first] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 48, 4, 4)]
    assert map_distance(first, same) == 0
    assert map_distance(first, other) > 0
