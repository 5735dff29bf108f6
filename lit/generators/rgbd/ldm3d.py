"""LDM3D's weights from a folder: text to colour and disparity, in place of a model trained here.

diffusers' StableDiffusionLDM3DPipeline is what reads the folder; sampling is that of the suite's own model, and the
depth is taken from the decoded channels here (the pipeline's own answer in numbers loses it for six channels).

Source: Stan et al., "LDM3D: Latent Diffusion Model for 3D", 2023.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.checksums import digest_of
from datamodules.objects.photos.photo import CAMERA_RADIUS
from lit.generators.dst.latent_diffusion import guided, seeded_noise
from lit.generators.rgbd.conditions import class_prompt
from lit.proxies.depth_estimator import stored_depth
from lit.weights.files import digest, shortened

PIPELINE_INDEX = "model_index.json"
RGBD_CURE = (
    "expected a folder of LDM3D in diffusers' layout (model_index.json, unet/, vae/, ... with safetensors), such as a "
    "copy of Intel/ldm3d-4c, or a checkpoint of conf/experiment/rgbd.yaml; give it as --rgbd"
)


class Ldm3dFolder:
    """A loaded LDM3D.

    Args:
        folder: in diffusers' layout.
        device: where it runs.

    Attributes:
        size: pixels of the square pictures.
        masks: False: pictures have backgrounds.
        digest: of its weights.
        classes: None: it reads any text.

    Raises:
        InputError: no such folder, or not of LDM3D.
    """

    masks = False
    classes: tuple[str, ...] | None = None

    def __init__(self, folder: str | Path, device: torch.device | str = "cpu") -> None:
        folder = Path(folder)
        if not (folder / PIPELINE_INDEX).is_file():
            what = f"no {PIPELINE_INDEX} in it" if folder.is_dir() else "no such folder"
            raise InputError(f"{folder}: {what}, {RGBD_CURE}")
        try:
            self.pipeline: Any = diffusers.StableDiffusionLDM3DPipeline.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, safety_checker=None, requires_safety_checker=False
            ).to(device)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise InputError(f"{folder}: cannot be loaded ({shortened(error)}), {RGBD_CURE}") from error
        channels = self.pipeline.vae.config.out_channels
        if channels not in (4, 6):
            raise InputError(
                f"{folder}: its autoencoder has {channels} channels, expected 4 or 6 with depth; {RGBD_CURE}"
            )
        self.size = int(self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor)
        weights = {file.relative_to(folder).as_posix(): digest(file) for file in sorted(folder.rglob("*.safetensors"))}
        self.digest = digest_of(json.dumps(weights).encode())

    @torch.no_grad()
    def sample(self, words: Sequence[str], seeds: Sequence[int], steps: int = 50, guidance: float = 5.0) -> Tensor:
        """Pictures (B, 4, S, S) in [-1, 1]; see :meth:`lit.generators.rgbd.diffusion.RgbdDiffusion.sample`.

        A single word is taken as a class: "a photo of a CLASS".
        """
        pipe = self.pipeline
        texts = [class_prompt(text) if text and " " not in text else text for text in words]
        said, quiet = pipe.encode_prompt(texts, pipe.device, 1, True, negative_prompt=[""] * len(texts))
        side = pipe.unet.config.sample_size
        noise = seeded_noise(seeds, (pipe.unet.config.in_channels, side, side), said)

        def predict(latents: Tensor, step: Tensor, condition: Tensor) -> Tensor:
            found: Tensor = pipe.unet(latents, step, condition).sample
            return found

        latents = guided(predict, pipe.scheduler, noise, said, quiet, steps, guidance)
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample.float().clamp(-1, 1)
        return torch.cat([decoded[:, :3], _places(disparity(decoded))], 1)


def disparity(decoded: Tensor) -> Tensor:
    """(B, S, S) in [0, 1], larger being nearer, of decoded channels (B, C, S, S) in [-1, 1].

    With four channels the last one holds it; with six the last two hold the high and the low byte of 16 bits, as the
    data of LDM3D's first version were packed.
    """
    if decoded.shape[1] == 4:
        return (decoded[:, 3] + 1) / 2
    high, low = ((decoded[:, 4:] + 1) * 127.5).round().unbind(1)
    return (high * 256 + low) / 65535


def _places(near: Tensor) -> Tensor:
    """(B, 1, S, S) places in the cube of disparities."""
    depth = [stored_depth(one.cpu().numpy(), inverse=True) for one in near]
    return torch.stack([torch.from_numpy(one).float() for one in depth]).unsqueeze(1).to(near) - CAMERA_RADIUS
