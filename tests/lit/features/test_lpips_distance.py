from __future__ import annotations

from pathlib import Path

import lpips
import pytest
import torch
import torchvision

from datamodules.errors import InputError
from lit.features.lpips_distance import LpipsDistance
from lit.metrics.maps.views import ViewScores


def test_distance_uses_the_given_weights(tmp_path: Path) -> None:
    """LPIPS written out: unit-normalised features of five layers, squared differences, the package's linear weights."""
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16(weights=None).eval()
    path = tmp_path / "vgg16.pth"
    torch.save(vgg.state_dict(), path)
    distance = LpipsDistance(str(path))
    a, b = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = ((2 * image - 1 - shift[:, None, None]) / scale[:, None, None] for image in (a, b))
    total, start = torch.zeros(2), 0
    for stop, linear in zip((4, 9, 16, 23, 30), distance.heads):
        x, y = vgg.features[start:stop](x), vgg.features[start:stop](y)
        unit = [f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (x, y)]
        total = total + (linear * (unit[0] - unit[1]).square()).sum(1).mean((1, 2))
        start = stop
    assert torch.allclose(distance(a, b), total, rtol=1e-3)
    scores = ViewScores(str(path))
    scores.add(torch.rand(2, 32, 32, 4), torch.randint(0, 256, (2, 32, 32, 4), dtype=torch.uint8))
    assert "lpips" in scores.means()
    assert "perceptual" in ViewScores().__dict__["distance_name"]


@pytest.mark.filterwarnings("ignore:.*pretrained.*", "ignore:.*weight enum.*")
@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_distance_is_the_packages(tmp_path: Path, network: str) -> None:
    """To the bit, with its gradient; an AlexNet without a file is the one that the package would draw."""
    torch.manual_seed(4)
    theirs = lpips.LPIPS(net=network, pnet_rand=True, verbose=False)
    names = {key: "features." + key.split(".", 1)[1] for key in theirs.net.state_dict()}
    torch.save({names[key]: value for key, value in theirs.net.state_dict().items()}, tmp_path / "trunk.pth")
    images = torch.rand(2, 2, 3, 64, 64)
    built = [LpipsDistance(str(tmp_path / "trunk.pth"), network)]
    if network == "alex":
        built.append(LpipsDistance(None, "alex", 4))
    for ours in built:
        gradients = []
        for distance in (lambda a, b: theirs(a, b, normalize=True).flatten(), ours):
            first = images[0].clone().requires_grad_()
            found = distance(first, images[1])
            found.sum().backward()
            assert first.grad is not None
            gradients += [found.detach(), first.grad]
        assert torch.equal(gradients[0], gradients[2])
        assert torch.equal(gradients[1], gradients[3])
        assert len(ours.by_layer(images[0], images[1])) == 5
        assert not ours.train().training


def test_missing_weights_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; expected weights of torchvision's vgg16, or null for no LPIPS"):
        LpipsDistance(str(tmp_path / "none.pth"))
    torch.save({"features.0.weight": torch.zeros(1, 3, 3, 3)}, tmp_path / "narrow.pth")
    with pytest.raises(InputError, match=r"narrow\.pth: .*features\.0\.weight has the shape \(1, 3, 3, 3\)"):
        LpipsDistance(str(tmp_path / "narrow.pth"))
