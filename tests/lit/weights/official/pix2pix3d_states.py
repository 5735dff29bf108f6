"""The state of one of our pix2pix3D generators under the names of its authors' files."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from lit.networks.discriminators.stylegan2_discriminator import StyleGAN2Discriminator
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.rendering.camera_march import CameraMarch
from tests.lit.weights.official.network_pickles import EasyDict

FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
UPSAMPLERS = {"upsample_image": "superresolution", "upsample_labels": "superresolution_semantic"}


def tiny(labels: str = "segmentation", **changes: Any) -> Pix2Pix3DGenerator:
    """A generator of a released resolution and very few channels."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"z_dim": 6, "w_dim": 8, "plane_resolution": 16, "plane_channels": 4, "channel_base": 64}
    sizes |= {"channel_max": 8, "encoder_base": 256, "encoder_max": 6, "features": 8, "upsampler_widths": (6, 4)}
    sizes |= {"geometry_rows": 4, "box": 1.6, "raw_after_first_block": True, "upsampler_size": 64, "render_size": 64}
    kind: dict[str, Any] = {"labels": labels, "classes": 1 if labels == "edges" else 3}
    network = Pix2Pix3DGenerator(CameraMarch(0.1, 2.6, 8, 8, True), 128, **{**sizes, **kind, **changes})
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    network.mapping.w_avg.normal_()
    return network.eval()


def official_state(network: Pix2Pix3DGenerator) -> dict[str, Tensor]:
    """Every entry, with the resampling filters and the two buffers that have no effect."""
    state = {"dataset_label_std": torch.ones(25), "backbone.mapping.embed_mask.alpha": torch.tensor(-1.0)}
    for key, value in network.state_dict().items():
        name = _official(key, network.resolution)
        state[name] = value[0] if key == "synthesis.constant" else value
        if name.endswith(("conv0.weight", "conv1.weight")):
            state[name.replace("weight", "resample_filter")] = FILTER
    return state


def official_judge(network: StyleGAN2Discriminator, resolution: int) -> dict[str, Tensor]:
    """The state of a judge under the names of its authors' files, with the resampling filters."""
    state = {}
    for key, value in network.state_dict().items():
        name = key.replace("project.mapping.layers.", "mapping.fc").replace("project.mapping.", "mapping.")
        name = name.replace("from_rgb.", f"b{resolution}.fromrgb.").replace("hidden.", "b4.fc.")
        name = re.sub(r"^blocks\.(\d+)", lambda match: f"b{resolution >> int(match[1])}", name)
        name = f"b4.{name}" if name.startswith(("conv.", "out.")) else name
        state[name] = value
        if name.endswith(("conv1.weight", "skip.weight")):
            state[name.replace("weight", "resample_filter")] = FILTER
    return state


def _official(key: str, resolution: int) -> str:
    if key == "synthesis.constant":
        return "backbone.synthesis.b4.const"
    if match := re.fullmatch(r"synthesis\.blocks\.(\d+)\.(.+)", key):
        return f"backbone.synthesis.b{4 << int(match[1])}.{match[2].replace('to_rgb', 'torgb')}"
    if match := re.fullmatch(r"mapping\.encoder\.blocks\.(\d+)\.(.+)", key):
        return f"backbone.mapping.embed_mask.b{resolution >> int(match[1])}.{match[2]}"
    if match := re.fullmatch(r"mapping\.encoder\.from_label\.(.+)", key):
        return f"backbone.mapping.embed_mask.b{resolution}.fromrgb.{match[1]}"
    if key == "mapping.encoder.projector":
        return "backbone.mapping.embed_mask.projector.weight"
    if key.startswith("mapping."):
        return "backbone." + re.sub(r"layers\.(\d+)", r"fc\1", key.replace("style.", ""))
    if match := re.fullmatch(r"(upsample_\w+)\.(.+)", key):
        return f"{UPSAMPLERS[match[1]]}.{match[2].replace('to_rgb', 'torgb')}"
    _, net, layer, rest = key.split(".")
    return f"decoder.{'net' if net == 'colour' else 'net_semantic'}.{0 if layer == 'hidden' else 2}.{rest}"


def arguments(network: Pix2Pix3DGenerator) -> dict[str, Any]:
    """Constructor arguments as the authors' files state them."""
    config, march = network.config, network.config["march"]
    rendering = EasyDict(
        ray_start=march["near"], ray_end=march["far"], depth_resolution=march["coarse"],
        depth_resolution_importance=march["fine"], white_back=march["white"], box_warp=config["box"],
        c_gen_conditioning_zero=not config["pose_condition"], c_scale=1.0, superresolution_noise_mode="none",
        clamp_mode="softplus", sr_antialias=True, decoder_lr_mul=1.0,
    )  # fmt: skip
    return {
        "z_dim": config["z_dim"],
        "c_dim": 25,
        "w_dim": config["w_dim"],
        "img_resolution": config["resolution"],
        "img_channels": 3,
        "semantic_channels": config["classes"],
        "data_type": "edge" if config["labels"] == "edges" else "seg",
        "channel_base": config["channel_base"],
        "channel_max": config["channel_max"],
        "conv_clamp": None,
        "sr_num_fp16_res": 4,
        "mapping_kwargs": EasyDict(num_layers=config["mapping_layers"], geometry_layer=9),
        "rendering_kwargs": rendering,
    }
