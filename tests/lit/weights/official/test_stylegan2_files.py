"""Official StyleGAN2 files give the official images; files of another kind or size are refused by name."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.errors import InputError
from lit.cli import main
from lit.generators.stylegan2 import StyleGAN2
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.weights import read_stylegan2, write_stylegan2
from lit.weights.official.nvidia import read_networks
from lit.weights.official.stylegan2_files import write_state
from tests.lit.weights.official.network_pickles import OSGDecoder, stylegan2_pickle, tree, write_pickle
from tests.lit.weights.official.official_states import SMALL, nvidia_state, nvidia_synthesis, rosinality_state
from tests.lit.weights.official.stylegan2_reference import nvidia_forward, rosinality_forward

Z = torch.randn(3, SMALL["z_dim"], generator=torch.Generator().manual_seed(5))


def images(generator: StyleGAN2Generator, truncation: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        return generator(Z, truncation, "const")


@pytest.mark.parametrize("flat", [False, True], ids=["stylegan2-ada", "stylegan3-repository"])
@pytest.mark.parametrize("truncation", [1.0, 0.6])
def test_a_network_pickle_gives_the_official_images(tmp_path: Path, flat: bool, truncation: float) -> None:
    state, marker = nvidia_state(), tmp_path / "marker"
    path = stylegan2_pickle(tmp_path / "cars.pkl", state, SMALL, marker, flat)
    generator = read_stylegan2(path)
    expected = nvidia_forward(state, Z, SMALL["resolution"], SMALL["mapping_layers"], truncation)
    assert expected.std() > 0.3
    torch.testing.assert_close(images(generator, truncation), expected, atol=1e-4, rtol=1e-4)
    assert {key: generator.config[key] for key in SMALL} == SMALL
    assert not marker.exists()


@pytest.mark.parametrize("flat", [False, True], ids=["stylegan2-ada", "stylegan3-repository"])
def test_activations_are_clamped_as_the_file_states(tmp_path: Path, flat: bool) -> None:
    state = nvidia_state()
    path = stylegan2_pickle(tmp_path / "cars.pkl", state, SMALL, tmp_path / "marker", flat, clamp={"conv_clamp": 0.8})
    generator = read_stylegan2(path)
    free, expected = (nvidia_forward(state, Z, 32, SMALL["mapping_layers"], 1.0, bound) for bound in (1e9, 0.8))
    assert (free - expected).abs().mean() > 0.2
    torch.testing.assert_close(images(generator), expected, atol=1e-4, rtol=1e-4)
    write_stylegan2(tmp_path / "cars.safetensors", generator)
    again = read_stylegan2(tmp_path / "cars.safetensors")
    assert again.config["conv_clamp"] == 0.8
    assert torch.equal(images(again), images(generator))


def test_an_unstated_clamp_is_the_repository_s_own_default(tmp_path: Path) -> None:
    def read(clamp: dict[str, object], flat: bool) -> object:
        path = stylegan2_pickle(tmp_path / "g.pkl", nvidia_state(), SMALL, tmp_path / "marker", flat, clamp)
        return read_stylegan2(path).config["conv_clamp"]

    assert read({}, flat=False) is None
    assert read({}, flat=True) == 256
    assert read({"conv_clamp": 256}, flat=False) == 256
    assert read({"conv_clamp": None}, flat=True) is None
    for wrong in ("256", True, 0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"states conv_clamp as .*, expected a positive number or none"):
            read({"conv_clamp": wrong}, flat=False)


def test_safetensors_from_before_clamping_have_none(tmp_path: Path) -> None:
    generator = StyleGAN2Generator(**SMALL)
    config = {key: value for key, value in generator.config.items() if key != "conv_clamp"}
    write_state(tmp_path / "old.safetensors", generator.state_dict(), "stylegan2", config)
    found = read_stylegan2(tmp_path / "old.safetensors")
    assert found.config["conv_clamp"] is None
    assert torch.equal(images(found), images(generator))
    write_state(tmp_path / "odd.safetensors", generator.state_dict(), "stylegan2", {**config, "conv_clamp": "x"})
    with pytest.raises(InputError, match="conv_clamp as 'x'"):
        read_stylegan2(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("truncation", [1.0, 0.6])
def test_a_generator_of_classes_gives_the_official_images(tmp_path: Path, truncation: float) -> None:
    state, labels = nvidia_state(classes=5), [4, 0, 2]
    generator = read_stylegan2(stylegan2_pickle(tmp_path / "g.pkl", state, SMALL, tmp_path / "marker", c_dim=5))
    expected = nvidia_forward(state, Z, 32, SMALL["mapping_layers"], truncation, labels=labels)
    other = nvidia_forward(state, Z, 32, SMALL["mapping_layers"], truncation, labels=[0, 0, 2])
    assert (expected - other)[0].abs().mean() > 0.05
    with torch.no_grad():
        found = generator(Z, truncation, "const", torch.tensor(labels))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(generator(Z, truncation, "const", 4)[0], expected[0], atol=1e-4, rtol=1e-4)


def test_a_class_is_chosen_once_for_all_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stylegan2_pickle(tmp_path / "g.pkl", nvidia_state(classes=5), SMALL, tmp_path / "marker", c_dim=5)
    out = tmp_path / "cars.safetensors"
    convert = ["prepare", "weights", "--checkpoint", str(path), "--out", str(out)]
    assert main([*convert, "--class-label", "3"]) == 0
    chosen, free = read_stylegan2(out), read_stylegan2(path)
    assert chosen.config["class_label"] == 3
    with torch.no_grad():
        assert torch.equal(images(chosen), free(Z, 1.0, "const", 3))
        assert torch.equal(chosen(Z, 1.0, "const", 1), free(Z, 1.0, "const", 1))
        assert torch.equal(images(read_stylegan2(out, class_label=0)), free(Z, 1.0, "const", 0))
    with pytest.raises(
        InputError, match=r"a generator of 5 classes: expected a class; choose one with .*--class-label"
    ):
        free(Z)
    for wrong in (5, -1, torch.tensor([0, 5, 1])):
        with pytest.raises(InputError, match="expected 0 to 4"):
            free(Z, class_label=wrong)
    capsys.readouterr()
    assert main([*convert, "--class-label", "5"]) == 2
    assert capsys.readouterr().err.strip().endswith("class label 5: expected 0 to 4")
    plain = read_stylegan2(stylegan2_pickle(tmp_path / "g.pkl", nvidia_state(), SMALL, tmp_path / "marker"))
    with pytest.raises(InputError, match="expected none, the generator has no classes"):
        plain.latents(Z, class_label=0)
    with pytest.raises(InputError, match="expected none, the generator has no classes"):
        plain.choose(0)
    stated: list[dict[str, Any]] = [{"c_dim": "5"}, {"c_dim": True}, {"c_dim": -1}, {"class_label": 0.5}]
    for config in (*stated, {"class_label": 7}):
        write_state(tmp_path / "odd.safetensors", chosen.state_dict(), "stylegan2", {**chosen.config, **config})
        with pytest.raises(InputError):
            read_stylegan2(tmp_path / "odd.safetensors")


def test_every_network_of_a_pickle_is_read_as_the_original_saves_it(tmp_path: Path) -> None:
    state = nvidia_state()
    networks = read_networks(stylegan2_pickle(tmp_path / "cars.pkl", state, SMALL, tmp_path / "marker"))
    assert set(networks) == {"G", "G_ema", "D"}
    assert set(networks["G_ema"].state) == set(state)
    assert all(torch.equal(networks["G_ema"].state[key], value) for key, value in state.items())
    assert networks["D"].kind == "Discriminator"
    assert networks["G_ema"].arguments["synthesis_kwargs"]["conv_clamp"] == 256
    assert "channel_base" in networks["G_ema"].describe()


def test_eg3d_is_read_as_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw, marker = torch.Generator().manual_seed(0), tmp_path / "marker"
    planes = nvidia_synthesis(draw, {4: 8, 8: 8}, 8, 96, "backbone.synthesis.")
    source = f"open({str(marker)!r}, 'w')"
    network: Any = tree("TriPlaneGenerator", planes, source, z_dim=8, c_dim=25, w_dim=8, img_resolution=64)
    decoder = OSGDecoder()
    decoder.net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Softplus(), torch.nn.Linear(64, 33))
    decoder.register_buffer("scratch", torch.zeros(2), persistent=False)
    network.decoder = decoder
    network.rendering_kwargs = {"box_warp": 1.6, "depth_resolution": 64}
    path = write_pickle(tmp_path / "shapenetcars.pkl", {"G_ema": network}, protocol=4)
    record = read_networks(path)["G_ema"]
    expected = network.state_dict()
    assert set(record.state) == set(expected)
    assert all(torch.equal(record.state[key], expected[key]) for key in expected)
    assert set(record.buffers) == {"decoder.scratch"}
    assert record.settings["rendering_kwargs"] == {"box_warp": 1.6, "depth_resolution": 64}
    with pytest.raises(InputError, match="TriPlaneGenerator, expected an official generator"):
        read_stylegan2(path)
    assert main(["prepare", "weights", "--checkpoint", str(path), "--out", str(tmp_path / "eg3d.safetensors")]) == 0
    assert "TriPlaneGenerator" in capsys.readouterr().out
    from safetensors.torch import load_file

    written = load_file(tmp_path / "eg3d.safetensors")
    assert all(torch.equal(written[key], expected[key]) for key in expected)
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [False, True], ids=["before-1.6", "zip"])
def test_rosinality_gives_its_images(tmp_path: Path, zipped: bool) -> None:
    state, average = rosinality_state(), torch.randn(SMALL["w_dim"])
    content = {"g_ema": state, "g": state, "d": {}, "latent_avg": average, "args": Namespace(size=32)}
    torch.save(content, tmp_path / "cars.pt", _use_new_zipfile_serialization=zipped)
    generator = read_stylegan2(tmp_path / "cars.pt")
    expected = rosinality_forward(state, Z, SMALL["mapping_layers"])
    assert expected.std() > 0.3
    torch.testing.assert_close(images(generator), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(generator.mapping.w_avg, average)
    assert {key: generator.config[key] for key in SMALL} == SMALL


def test_rosinality_without_an_average_gets_the_mean_style(tmp_path: Path) -> None:
    torch.save({"g_ema": rosinality_state()}, tmp_path / "cars.pt")
    generator = read_stylegan2(tmp_path / "cars.pt")
    with torch.no_grad():
        mean = generator.mapping(torch.randn(20_000, SMALL["z_dim"])).mean(0)
    torch.testing.assert_close(generator.mapping.w_avg, mean, atol=0.12, rtol=0)


def test_safetensors_round_trip_is_exact(tmp_path: Path) -> None:
    path = stylegan2_pickle(tmp_path / "cars.pkl", nvidia_state(), SMALL, tmp_path / "marker")
    out = tmp_path / "cars.safetensors"
    assert main(["prepare", "weights", "--checkpoint", str(path), "--out", str(out)]) == 0
    first, second = read_stylegan2(path), read_stylegan2(out)
    assert first.config == second.config
    assert torch.equal(images(first), images(second))
    write_stylegan2(tmp_path / "again.safetensors", second)
    assert (tmp_path / "again.safetensors").read_bytes() == out.read_bytes()


def test_our_checkpoint_gives_the_averaged_generator(tmp_path: Path) -> None:
    sizes: dict[str, Any] = SMALL
    module = StyleGAN2(**sizes)
    assert module.ema.synthesis.constant is not None
    with torch.no_grad():
        module.ema.synthesis.constant.normal_()
    content = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "optimizer_states": [{}]}
    torch.save(content, tmp_path / "last.ckpt")
    found = read_stylegan2(tmp_path / "last.ckpt")
    assert all(torch.equal(value, found.state_dict()[key]) for key, value in module.ema.state_dict().items())
    torch.testing.assert_close(images(found), images(module.ema), atol=1e-4, rtol=1e-4)  # another memory layout
    assert not torch.allclose(images(found), images(module.generator), atol=1e-2)


def test_another_resolution_names_both(tmp_path: Path) -> None:
    write_stylegan2(tmp_path / "cars.safetensors", StyleGAN2Generator(**SMALL))
    with pytest.raises(InputError, match=r"resolution 32, expected 64; set the resolution to 32"):
        read_stylegan2(tmp_path / "cars.safetensors", resolution=64)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state, marker, path = nvidia_state(), tmp_path / "marker", tmp_path / "cars.pkl"
    stylegan2_pickle(path, state, {**SMALL, "resolution": 64}, marker)
    with pytest.raises(InputError, match=r"states resolution 64 .* resolution 32"):
        read_stylegan2(path)
    stylegan2_pickle(path, state, {**SMALL, "channel_base": 1 << 40, "channel_max": 1 << 40}, marker)
    with pytest.raises(InputError, match="channels"):  # before anything of that size is allocated
        read_stylegan2(path)
    for classes in (25, 1 << 40):
        stylegan2_pickle(path, state, SMALL, marker, c_dim=classes)
        with pytest.raises(InputError, match="mapping or image layers are not of the stated sizes"):
            read_stylegan2(path)
    stylegan2_pickle(path, nvidia_state(classes=5), SMALL, marker)
    with pytest.raises(InputError, match="mapping or image layers are not of the stated sizes"):
        read_stylegan2(path)
    stylegan2_pickle(path, nvidia_state(classes=5), SMALL, marker, c_dim=4)
    with pytest.raises(InputError, match="mapping or image layers are not of the stated sizes"):
        read_stylegan2(path)
    stylegan2_pickle(path, {**state, "synthesis.b8.skip.weight": torch.zeros(1)}, SMALL, marker)
    with pytest.raises(InputError, match=r"synthesis\.b8\.skip\.weight is no parameter"):
        read_stylegan2(path)
    other = {**state, "synthesis.b8.resample_filter": torch.ones(4, 4) / 16}
    with pytest.raises(InputError, match="low-pass filter"):
        read_stylegan2(stylegan2_pickle(path, other, SMALL, marker))
    partial = {key: value for key, value in state.items() if key != "synthesis.b16.conv0.bias"}
    with pytest.raises(InputError, match=r"blocks\.2\.conv0\.bias is missing"):
        read_stylegan2(stylegan2_pickle(path, partial, SMALL, marker))
    torch.save({"g_ema": rosinality_state(), "latent_avg": "x"}, tmp_path / "text.pt")
    with pytest.raises(InputError, match="latent_avg is a str, expected a tensor"):
        read_stylegan2(tmp_path / "text.pt")
    torch.save({"g_ema": {**rosinality_state(), "odd": torch.zeros(1)}}, tmp_path / "odd.pt")
    with pytest.raises(InputError, match="odd is no parameter of rosinality"):
        read_stylegan2(tmp_path / "odd.pt")
    for key in ("conv1.conv.weight", "style.1.weight", "to_rgb1.conv.weight", "noises.noise_0"):
        torch.save({"g_ema": {**rosinality_state(), key: torch.zeros(3)}}, tmp_path / "flat.pt")
        with pytest.raises(InputError, match=r"flat\.pt: "):
            read_stylegan2(tmp_path / "flat.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="holds no generator"):
        read_stylegan2(tmp_path / "other.pt")
    assert not marker.exists()
