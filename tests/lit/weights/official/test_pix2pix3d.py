from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.cli import main
from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.weights.official.nvidia import read_networks
from lit.weights.official.pix2pix3d import read_pix2pix3d
from lit.weights.official.pix2pix3d_judges import start_judges
from lit.weights.official.pix2pix3d_names import discriminator_state, generator_state
from tests.lit.weights.official.network_pickles import tree, write_pickle
from tests.lit.weights.official.pix2pix3d_states import arguments, official_judge, official_state, tiny


def pickled(path: Path, network: Pix2Pix3DGenerator, state: dict[str, Tensor] | None = None, **changes: Any) -> Path:
    """A generator as pix2pix3D's training saves it, whose source would create a marker if it were run."""
    source = f"open({str(path.with_suffix('.marker'))!r}, 'w').write('run')\n"
    given = official_state(network) if state is None else state
    made = tree("TriPlaneSemanticEntangleGenerator", given, source, **(arguments(network) | changes))
    made.neural_rendering_resolution = network.render_size  # type: ignore[assignment]
    critic = tree("DualDiscriminator", {"b4.out.weight": torch.zeros(1, 4)}, source)
    return write_pickle(path, {"G_ema": made, "G": made, "D": critic, "D_semantic": critic})


@pytest.mark.parametrize("kind", ["segmentation", "edges"])
def test_a_pickle_becomes_the_network_and_so_does_what_prepare_makes_of_it(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tiny(kind, pose_condition=kind == "segmentation")
    path = pickled(tmp_path / "net.pkl", network)
    assert set(read_networks(path)) == {"G_ema", "G", "D", "D_semantic"}
    assert main(["prepare", "weights", "--checkpoint", str(path), "--out", str(tmp_path / "net.safetensors")]) == 0
    assert f"every tensor has its place; {kind}, 128 pixels" in capsys.readouterr().out
    for file in (path, tmp_path / "net.safetensors"):
        read = read_pix2pix3d(file)
        assert read.config == network.config
        state, wanted = read.state_dict(), network.state_dict()
        assert set(state) == set(wanted)
        assert all(torch.equal(state[key], wanted[key]) for key in wanted)
        assert not read.training
    assert not path.with_suffix(".marker").exists()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    network, path = tiny(), tmp_path / "net.pkl"
    state = official_state(network)
    less = {key: value for key, value in state.items() if key != "backbone.mapping.fc1.bias"}
    with pytest.raises(InputError, match=r"key mapping\.style\.layers\.1\.bias is missing"):
        read_pix2pix3d(pickled(path, network, less))
    with pytest.raises(InputError, match=r"decoder\.net_other\.0\.weight is no parameter of pix2pix3D's generator"):
        read_pix2pix3d(pickled(path, network, state | {"decoder.net_other.0.weight": torch.zeros(2, 2)}))
    with pytest.raises(InputError, match="expected pix2pix3D's generator"):
        read_pix2pix3d(pickled(path, network, {"backbone.mapping.w_avg": torch.zeros(4, 8)}))
    with pytest.raises(InputError, match="states conv_clamp as 256; expected None"):
        read_pix2pix3d(pickled(path, network, conv_clamp=256))
    rendering = arguments(network)["rendering_kwargs"]
    with pytest.raises(InputError, match="states ray_start and ray_end as"):
        read_pix2pix3d(pickled(path, network, rendering_kwargs=rendering | {"ray_start": "auto"}))
    with pytest.raises(InputError, match="states w_dim as 'wide'"):
        read_pix2pix3d(pickled(path, network, w_dim="wide"))
    with pytest.raises(InputError, match="another low-pass filter"):
        generator_state(state | {"superresolution.resample_filter": torch.ones(4, 4)}, "file")


def judge(channels: int, seed: int) -> StyleGAN2Discriminator:
    torch.manual_seed(seed)
    return StyleGAN2Discriminator(16, 64, 8, 2, channels, channels, 25, 256.0)


def judges_pickle(path: Path, **judges: StyleGAN2Discriminator) -> Path:
    trees = {name: tree("DualDiscriminator", official_judge(one, 16), "") for name, one in judges.items()}
    return write_pickle(path, trees)


def test_both_judges_of_a_pickle_become_ours(tmp_path: Path) -> None:
    wanted = judge(3, 1), judge(6, 2)
    path = judges_pickle(tmp_path / "net.pkl", D=wanted[0], D_semantic=wanted[1])
    image, label = judge(3, 3), judge(6, 4)
    start_judges(image, label, path)
    for made, one in zip((image, label), wanted):
        state, given = made.state_dict(), one.state_dict()
        assert set(state) == set(given)
        assert all(torch.equal(state[key], given[key]) for key in given)
    channels = torch.randn(2, 6, 16, 16)
    assert torch.equal(label(channels, channels, torch.ones(2, 25)), wanted[1](channels, channels, torch.ones(2, 25)))
    start_judges(None, None, path)
    with pytest.raises(InputError, match=r"from_rgb\.weight has the shape \(4, 6, 1, 1\), expected \(4, 12, 1, 1\)"):
        start_judges(judge(6, 3), None, path)
    with pytest.raises(InputError, match="has no judge of pictures"):
        start_judges(image, label, judges_pickle(tmp_path / "less.pkl", D_semantic=wanted[1]))
    with pytest.raises(InputError, match=r"b16\.other\.weight is no parameter of a residual discriminator"):
        discriminator_state({"b16.other.weight": torch.zeros(1)}, "file")


def test_without_a_judge_of_labels_it_begins_as_that_of_pictures(tmp_path: Path) -> None:
    given, label = judge(3, 1), judge(6, 4)
    own = label.from_rgb.weight.clone()
    start_judges(judge(3, 3), label, judges_pickle(tmp_path / "eg3d.pkl", D=given))
    assert torch.equal(label.conv.weight, given.conv.weight)
    assert torch.equal(label.from_rgb.weight, own)
