from __future__ import annotations

import pytest
import torch

from datamodules.errors import InputError
from lit.networks.pix2pix3d.generator import LabelledPictures
from lit.networks.pix2pix3d.label_decoder import LabelDecoder
from lit.networks.pix2pix3d.super_resolution import SuperResolution
from tests.lit.networks.pix2pix3d.small import around, label_maps, small

KINDS = ("segmentation", "edges")


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_pictures_have_their_shapes_and_are_the_same_twice(kind: str) -> None:
    network, cameras = small(kind), around(2)
    latent = network.latents(torch.ones(2, 8), cameras, label_maps(kind))
    assert latent.shape == (2, 6, 12)
    first, second = (network(latent, cameras, noise="none") for _ in range(2))
    channels = 1 if kind == "edges" else 4
    shapes = [(2, 3, 16, 16), (2, channels, 16, 16), (2, 3, 8, 8), (2, channels, 8, 8), (2, 1, 8, 8), (2, 1, 8, 8)]
    assert [tuple(part.shape) for part in first] == shapes
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    drawn = [network(latent, cameras, "none", draw=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0].image, drawn[1].image)
    assert not torch.equal(drawn[0].image, drawn[2].image)


@torch.no_grad()
def test_labels_make_the_first_rows_and_latents_the_others() -> None:
    network, cameras, maps = small(), around(2), label_maps("segmentation")
    z = torch.randn(2, 8)
    latent = network.latents(z, cameras, maps)
    other = network.latents(z.flip(0), cameras, maps)
    assert torch.equal(latent[:, :4], other[:, :4])
    assert not torch.allclose(latent[:, 4:], other[:, 4:])
    redrawn = network.latents(z, cameras, (maps + 1) % 4)
    assert not torch.allclose(latent[:, :4], redrawn[:, :4])
    assert torch.equal(latent[:, 4:], redrawn[:, 4:])
    assert torch.equal(latent[:, 4], latent[:, 5])
    turned = network.latents(z, cameras.flip(0), maps)
    assert not torch.allclose(latent[:, 4:], turned[:, 4:])
    blind = small(pose_condition=False)
    assert torch.equal(blind.latents(z, cameras, maps), blind.latents(z, cameras.flip(0), maps))
    network.mapping.follow(latent.mean(0), 0.0)
    assert torch.allclose(network.latents(z, cameras, maps, 0.0), latent.mean(0).expand(2, -1, -1), atol=1e-6)


def test_the_raw_pictures_are_as_rendered_or_with_the_first_blocks_addition() -> None:
    bare, summed = small(), small(raw_after_first_block=True)
    cameras = around(2)
    latent = bare.latents(torch.ones(2, 8), cameras, label_maps("segmentation"))
    one, two = (network(latent, cameras, noise="none") for network in (bare, summed))
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.labels, two.labels)
    assert not torch.allclose(one.image_raw, two.image_raw)
    resized = [network(latent, cameras, noise="none", size=4) for network in (bare, summed)]
    assert torch.equal(resized[0].image_raw, resized[1].image_raw)  # the block's input was resized


def test_empty_rays_end_on_white_in_every_channel() -> None:
    network, cameras = small("edges"), around(2)
    with torch.no_grad():
        network.decoder.label.heads.bias[0] = -80.0  # no density
        latent = network.latents(torch.ones(2, 8), cameras, label_maps("edges"))
        drawn: LabelledPictures = network(latent, cameras, noise="none")
    assert torch.allclose(drawn.image_raw, torch.ones(()))
    assert torch.allclose(drawn.labels_raw, torch.ones(()))
    assert torch.allclose(drawn.opacity, torch.zeros(()), atol=1e-6)
    assert len(drawn.depth.unique()) == 1  # the farthest sample's


def test_density_is_the_label_decoders_and_colours_are_the_others() -> None:
    torch.manual_seed(0)
    decoder, features = LabelDecoder(8, 4, 8), torch.randn(2, 8, 9, requires_grad=True)
    values = decoder.raw(features)
    assert values.rgb.shape == (2, 3, 9)
    assert values.parts is not None
    assert values.parts.shape == (2, 4, 9)
    assert values.features is not None
    assert values.features.shape == (2, 5 + 4, 9)
    values.density.sum().backward(retain_graph=True)
    assert decoder.colour.hidden.weight.grad is None
    decoder.zero_grad()
    values.rgb.sum().backward()
    assert decoder.label.hidden.weight.grad is None
    edges = LabelDecoder(8, 1, 8).raw(features).parts
    assert edges is not None
    assert bool((edges > -0.0011).all())  # they are activated
    with pytest.raises(InputError, match="more than 3 colours and 9 classes"):
        LabelDecoder(8, 9, 8)


@pytest.mark.parametrize(("size", "resolution"), [(8, 16), (8, 32)])
def test_upsamplers_double_once_or_twice(size: int, resolution: int) -> None:
    network = SuperResolution(resolution, 8, 4, 12, size, (12, 8))
    x, latent = torch.randn(1, 8, size, size), torch.randn(1, 6, 12)
    drawn = network(x[:, :4], x, latent)
    assert drawn.picture.shape == (1, 4, resolution, resolution)
    assert (drawn.first is None) == (resolution == 32)
    other = torch.cat([torch.randn(1, 5, 12), latent[:, -1:]], 1)
    assert torch.equal(network(x[:, :4], x, other).picture, drawn.picture)  # only the last row steers
    with pytest.raises(InputError, match="from 8 to 64 pixels"):
        SuperResolution(64, 8, 4, 12, 8)


def test_wrong_label_maps_are_refused() -> None:
    network, maps = small(), label_maps("segmentation")
    with pytest.raises(InputError, match=r"label maps of shape \(2, 8, 8\): expected \(B, 16, 16\) for segmentation"):
        network.label_channels(maps[:, ::2, ::2])
    with pytest.raises(InputError, match="class 7: expected 0 to 3"):
        network.label_channels(torch.full_like(maps, 7))
    with pytest.raises(InputError, match="class -1: expected 0 to 3"):
        network.label_channels(torch.full_like(maps, -1))
    with pytest.raises(InputError, match=r"expected \(B, 1, 16, 16\) for edges"):
        small("edges").label_channels(maps)
    with pytest.raises(InputError, match="edges of 4 classes: expected 1 for edges"):
        small("edges", classes=4)
    with pytest.raises(InputError, match="geometry_rows 6: expected 1 to 5"):
        small(geometry_rows=6)


@pytest.mark.parametrize("labels", ["segmentation", "edges"])
def test_one_decoder_of_both_gives_the_same_colour_and_density(labels: str) -> None:
    decoder = small(labels, hidden=12).decoder
    features = torch.randn(2, 8, 50, generator=torch.Generator().manual_seed(0))
    found, wanted = decoder.fused()(features), decoder(features)
    assert torch.allclose(found.rgb, wanted.rgb, atol=1e-5)
    assert torch.allclose(found.density, wanted.density, atol=1e-5)


@pytest.mark.parametrize("labels", ["segmentation", "edges"])
@pytest.mark.parametrize("first", [False, True])
def test_labels_alone_are_those_of_the_pictures(labels: str, first: bool) -> None:
    network = small(labels, raw_after_first_block=first)
    latent = network.latents(torch.randn(2, 8), around(2), label_maps(labels))
    whole = network(latent, around(2), "const")
    assert torch.equal(network.labels(latent, around(2), "const", None, full=True), whole.labels)
    assert torch.equal(network.labels(latent, around(2), "const", None, full=False), whole.labels_raw)


def test_an_unconditional_network_does_not_look_at_the_map() -> None:
    network = small(conditional=False)
    z, maps = torch.randn(2, 8), label_maps("segmentation")
    latent = network.latents(z, around(2), maps)
    assert torch.equal(latent, network.latents(z, around(2), 3 - maps))
    other = network.latents(-z, around(2), maps)
    assert (latent != other).any(-1).all()  # every row comes from z, as EG3D's do
    assert torch.equal(latent[:, 0], latent[:, -1])
    assert not any(part.requires_grad for part in network.mapping.encoder.parameters())  # several processes wait for it
