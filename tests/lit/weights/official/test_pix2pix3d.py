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
from lit.weights.official.pix2pix3d_names import discriminator_state, generator_state
from tests.lit.weights.official.network_pickles import tree, write_pickle
from tests.lit.weights.official.pix2pix3d_states import arguments, official_state, tiny


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


def test_discriminators_have_a_place_for_every_tensor() -> None:
    network = StyleGAN2Discriminator(16, 64, 8, 2, 6, 6, 25, 256.0)
    names = {}
    for key, value in network.state_dict().items():
        name = key.replace("project.mapping.layers.", "mapping.fc").replace("project.mapping.", "mapping.")
        name = name.replace("from_rgb.", "b16.fromrgb.").replace("hidden.", "b4.fc.").replace("blocks.0.", "b16.")
        name = name.replace("blocks.1.", "b8.")
        names[f"b4.{name}" if name.startswith(("conv.", "out.")) else name] = value
    assert set(discriminator_state(names, "file")) == set(network.state_dict())
    assert all(torch.equal(a, network.state_dict()[key]) for key, a in discriminator_state(names, "file").items())
    with pytest.raises(InputError, match=r"b16\.other\.weight is no parameter of a residual discriminator"):
        discriminator_state({"b16.other.weight": torch.zeros(1)}, "file")
