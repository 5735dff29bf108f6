from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.giraffe import GiraffeGenerator
from lit.networks.giraffe_hd import GiraffeHDGenerator
from lit.weights.official.giraffe import _official_shape, load_official, official_name, official_state

# Names and shapes in the authors' files: z 8 and 6, width 16 and 8, 4 layers, 3 octaves, 12 features, one upsampling.
GIRAFFE = {
    "decoder.fc_in.weight": (16, 18),
    "decoder.fc_z.weight": (16, 8),
    "decoder.blocks.2.bias": (16,),
    "decoder.sigma_out.weight": (1, 16),
    "decoder.fc_z_view.weight": (16, 8),
    "decoder.feat_view.weight": (16, 16),
    "decoder.fc_view.weight": (16, 24),
    "decoder.feat_out.weight": (12, 16),
    "background_generator.fc_z.weight": (8, 6),
    "background_generator.blocks.0.weight": (8, 8),
    "neural_renderer.conv_layers.0.weight": (8, 12, 3, 3),
    "neural_renderer.conv_rgb.0.weight": (3, 12, 3, 3),
    "neural_renderer.conv_rgb.1.bias": (3,),
}
HD = {
    "vol_generator.decoder.dense_layers.fc_in.weight": (16, 18),
    "vol_generator.decoder.feat_layers.feat_out.bias": (12,),
    "vol_generator.background_generator.dense_layers.blocks.0.weight": (8, 8),
    "fg_renderer.conv1.conv.weight": (1, 16, 12, 3, 3),
    "fg_renderer.conv1.conv.modulation.weight": (12, 8),
    "fg_renderer.conv1.noise.weight": (1,),
    "fg_renderer.conv1.activate.bias": (16,),
    "fg_renderer.to_rgb1.conv.weight": (1, 4, 16, 1, 1),
    "fg_renderer.to_rgb1.bias": (1, 4, 1, 1),
    "fg_renderer.convs.1.conv.modulation.bias": (8,),
    "fg_renderer.to_rgbs.0.bias": (1, 4, 1, 1),
    "fg_renderer.noises.noise_0": (1, 1, 16, 16),
    "fg_renderer.noises.noise_2": (1, 1, 32, 32),
    "bg_renderer.to_rgb1.conv.weight": (1, 3, 16, 1, 1),
    "refine_renderer.convs.1.conv.weight": (1, 8, 8, 3, 3),
    "refine_renderer.noises.noise_1": (1, 1, 32, 32),
    "refine_renderer.to_rgb.bias": (1, 3, 1, 1),
    "styles.0.1.weight": (8, 8),
    "styles.1.2.bias": (6,),
}
SIZES: dict[str, Any] = {"z_dim": 8, "background_z_dim": 6, "features": 12, "hidden": 16, "layers": 4, "octaves": 3}
SIZES |= {"background_hidden": 8}


def giraffe() -> GiraffeGenerator:
    torch.manual_seed(0)
    return GiraffeGenerator(least=8, resolution=32, size=16, samples=64, **SIZES)


def giraffe_hd() -> GiraffeHDGenerator:
    torch.manual_seed(0)
    network = GiraffeHDGenerator(
        resolution=32, size=16, samples=64, mapping_layers=2, channel_base=256, channel_max=16, **SIZES
    )
    for name, value in network.named_parameters():
        if "noise_strength" in name or name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.3)
    return network


def to_official(network: nn.Module) -> dict[str, Tensor]:
    """The state of a generator under the authors' names and in their shapes."""
    hd, state = isinstance(network, GiraffeHDGenerator), {}
    for ours, value in network.state_dict().items():
        if name := official_name(ours, hd):
            state[name] = value.view(_official_shape(name, value)) if hd else value
    return state


def save_giraffe(path: Path, network: GiraffeGenerator, flat: bool = True) -> Path:
    """A file as the authors' training writes it: filters of the blur included."""
    state = to_official(network) | {"neural_renderer.upsample_rgb.1.f": torch.tensor([1.0, 2.0, 1.0])}
    wrong = {name: torch.zeros_like(value) for name, value in state.items()}
    parts = {"generator": wrong, "generator_test": state, "discriminator": {"conv_out.weight": torch.zeros(1)}}
    joined = {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}
    torch.save({"model": joined} if flat else parts | {"epoch_it": 3, "it": 100}, path)
    return path


def save_hd(path: Path, network: GiraffeHDGenerator) -> Path:
    state = to_official(network) | {"fg_renderer.convs.0.conv.blur.kernel": torch.ones(4, 4)}
    args = argparse.Namespace(size=32, res_vol=16, range_v=[0.41667, 0.5], fov=10, pos_share=True, mix_prob=0.5)
    torch.save({"g": {}, "d": {}, "g_ema": state, "g_optim": {}, "d_optim": {}, "args": args, "cur_itr": 7}, path)
    return path


def test_names_and_shapes_are_the_authors() -> None:
    for network, expected in ((giraffe(), GIRAFFE), (giraffe_hd(), HD)):
        state = {name: tuple(value.shape) for name, value in to_official(network).items()}
        assert {name: state.get(name) for name in expected} == expected


@pytest.mark.parametrize("kind", ["flat", "nested", "hd"])
def test_round_trip_gives_the_same_pictures(tmp_path: Path, kind: str) -> None:
    build: Callable[[], Any] = giraffe_hd if kind == "hd" else giraffe
    network, read, file = build(), build(), tmp_path / "model.pt"
    path = save_hd(file, network) if kind == "hd" else save_giraffe(file, network, kind == "flat")
    for value in read.parameters():
        torch.nn.init.zeros_(value)
    load_official(read, official_state(path), path)
    draw = torch.Generator().manual_seed(5)
    codes, scene = network.codes(2, draw), network.scene.ranges.sample(2, draw)
    assert torch.equal(read.eval()(codes, scene), network.eval()(codes, scene))


def test_another_size_is_one_line_that_names_the_tensor(tmp_path: Path) -> None:
    state = official_state(save_giraffe(tmp_path / "model.pt", giraffe()))
    other = GiraffeGenerator(least=8, resolution=32, size=16, samples=64, **(SIZES | {"z_dim": 9}))
    with pytest.raises(InputError, match=r"decoder.fc_z.weight has shape \(16, 8\), the model expects \(16, 9\)"):
        load_official(other, state, "model.pt")
    with pytest.raises(InputError, match=r"neural_renderer.conv_layers.1.weight"):
        load_official(GiraffeGenerator(least=8, resolution=64, size=16, samples=64, **SIZES), state, "model.pt")
    with pytest.raises(InputError, match="has no place"):
        load_official(giraffe(), state | {"neural_renderer.norms.0.weight": torch.ones(1)}, "model.pt")


def test_other_files_and_hostile_ones_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"holds .*state_dict.*expected generator"):
        official_state(tmp_path / "other.pt")
    torch.save({"g_ema": {}, "args": Path("x")}, tmp_path / "hostile.pt")
    with pytest.raises(InputError, match=r"hostile.pt: refused"):
        official_state(tmp_path / "hostile.pt")
    with pytest.raises(InputError, match="no such file"):
        official_state(tmp_path / "none.pt")
