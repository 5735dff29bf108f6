"""A small Stable Diffusion with a ControlNet, of diffusers' own classes, that the suite trains itself.

The text encoder, U-Net and ControlNet learn together from pictures with edges and prompts: starting from noise, there
is no finished model that a ControlNet could leave alone. Given a ``base``, that one is frozen and the ControlNet starts
as its copy, as in Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models", ICCV 2023.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.renders.model_meshes import STUDIO_CLASSES
from datamodules.renders.prompted_images import PromptedBatch
from detectors.rank_counts import mean_over_ranks
from lit.generators.base import Generator
from lit.generators.dst.autoencoder import (
    LATENT_CHANNELS,
    DstAutoencoder,
    build_autoencoder,
    sampled,
    step_draw,
    take_over,
)
from lit.generators.dst.tokenizer import prompt_words, word_tokenizer
from lit.networks.batch_draws import batch_draw, part_of_batch
from lit.networks.image_range import from_pixels, to_pixels
from lit.weights.fitting import restore

STEPS = 1000  # of noise
SCHEDULE: dict[str, Any] = {  # Stable Diffusion's
    "num_train_timesteps": STEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}


class DstDiffusion(Generator):
    """Predicts the noise in latents, shown the prompt and the edges; both are left out at times.

    Args:
        autoencoder: checkpoint of :class:`DstAutoencoder` that training starts with; "none": a random one.
        base: checkpoint of a model like this one, frozen: only the ControlNet learns, from a copy of its U-Net.
        size: pixels of the square pictures.
        encoder_channels, encoder_layers: of the autoencoder.
        channels: of the U-Net's resolutions; all but the last attend to the text.
        layers: of each resolution.
        heads: of attention.
        text_width, text_layers: of the text encoder.
        text_length: tokens of a prompt.
        words: further words that the tokenizer knows whole.
        groups: of group normalisation.
        drop_text, drop_control: shares of pictures without prompt and without edges.
        lr: of AdamW.
        total_images: training stops after so many.
        seed: of training's draws and of validation's noise.
        start: checkpoint of a model like this one that training goes on from: one of the studio's objects, before few
            crops; an ``autoencoder`` takes the place of its own.
    """

    def __init__(
        self,
        autoencoder: str | None = None,
        base: str | None = None,
        size: int = 64,
        encoder_channels: tuple[int, ...] = (32, 64, 64),
        encoder_layers: int = 1,
        channels: tuple[int, ...] = (64, 128),
        layers: int = 1,
        heads: int = 4,
        text_width: int = 64,
        text_layers: int = 2,
        text_length: int = 32,
        words: tuple[str, ...] = (),
        groups: int = 16,
        drop_text: float = 0.1,
        drop_control: float = 0.1,
        lr: float = 5e-4,
        total_images: int = 400_000,
        seed: int = 0,
        start: str | None = None,
    ) -> None:
        super().__init__(total_images)
        self.save_hyperparameters()
        for name, share in (("drop_text", drop_text), ("drop_control", drop_control)):
            if not 0 <= share <= 1:
                raise InputError(f"{name} {share:g}: expected a share in [0, 1]")
        factor = 2 ** (len(encoder_channels) - 1)
        if size % (factor * 2 ** (len(channels) - 1)):
            raise InputError(
                f"size {size}: expected a multiple of {factor * 2 ** (len(channels) - 1)} for these channels"
            )
        self.vae = build_autoencoder(size, encoder_channels, encoder_layers, groups).requires_grad_(False)
        self.register_buffer("latent_scale", torch.ones(()))
        self.latent_scale: Tensor
        self.tokenizer = word_tokenizer(prompt_words((*STUDIO_CLASSES, *words)), text_length)
        self.text_encoder = _text_encoder(len(self.tokenizer), text_width, text_layers, heads, text_length)
        attending = len(channels) - 1 or 1
        plain = len(channels) - attending
        self.unet = UNet2DConditionModel(
            sample_size=size // factor,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            down_block_types=("CrossAttnDownBlock2D",) * attending + ("DownBlock2D",) * plain,
            up_block_types=("UpBlock2D",) * plain + ("CrossAttnUpBlock2D",) * attending,
            block_out_channels=tuple(channels),
            layers_per_block=layers,
            cross_attention_dim=text_width,
            attention_head_dim=heads,
            norm_num_groups=groups,
        )
        hints = tuple(16 * 2**level for level in range(len(encoder_channels)))  # halves the edges' side as often
        self.controlnet = ControlNetModel.from_unet(self.unet, conditioning_embedding_out_channels=hints)
        self.noise = DDPMScheduler(**SCHEDULE)

    @staticmethod
    def load(path: str | Path) -> DstDiffusion:
        """A trained model in evaluation mode.

        Raises:
            InputError: no such file, or a checkpoint of something else.
        """
        return restore(DstDiffusion, path, "a checkpoint of conf/experiment/dst.yaml; train one with it")

    def setup(self, stage: str) -> None:
        """Take over the autoencoder, and the base that stays as it is.

        Raises:
            InputError: neither is given where a training begins, or one does not fit.
        """
        h: Any = self.hparams
        if stage != "fit" or self.images_seen:
            return
        if h.start is not None:
            other = DstDiffusion.load(h.start)
            for name in ("vae", "text_encoder", "unet", "controlnet"):
                take_over(getattr(self, name), getattr(other, name), name, h.start)
            self.latent_scale.copy_(other.latent_scale)
        if h.base is not None:
            base = DstDiffusion.load(h.base)
            for name in ("vae", "text_encoder", "unet"):
                take_over(getattr(self, name), getattr(base, name), name, h.base)
                getattr(self, name).requires_grad_(False)
            fresh = ControlNetModel.from_unet(
                self.unet,
                conditioning_embedding_out_channels=self.controlnet.config.conditioning_embedding_out_channels,
            )
            self.controlnet.load_state_dict(fresh.state_dict())
            self.latent_scale.copy_(base.latent_scale)
        elif h.autoencoder not in (None, "none"):
            encoder = DstAutoencoder.load(h.autoencoder)
            take_over(self.vae, encoder.network, "vae", h.autoencoder)
            self.latent_scale.copy_(encoder.latent_scale)
        elif h.autoencoder is None and h.start is None:
            raise InputError(
                "model.autoencoder null: diffusion works in the latents of a trained autoencoder, expected its "
                "checkpoint; train conf/experiment/dst_autoencoder.yaml and give runs/dst_autoencoder/last.ckpt"
            )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        learning = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.AdamW(learning, self.hparams["lr"], weight_decay=1e-2)

    def encode_text(self, prompts: tuple[str, ...] | list[str]) -> Tensor:
        """(B, L, width) features of B texts."""
        ids = self.tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt").input_ids
        features: Tensor = self.text_encoder(ids.to(self.device))[0]
        return features

    def predicted_noise(self, latents: Tensor, steps: Tensor, text: Tensor, controls: Tensor, keep: Tensor) -> Tensor:
        """(B, 4, s, s) of noisy latents, steps (B,), text (B, L, width), edges (B, 3, S, S) in [0, 1].

        Args:
            keep: (B,) 1 where the ControlNet has its say, 0 where it is left out.
        """
        down, middle = self.controlnet(latents, steps, text, controls, return_dict=False)
        share = keep[:, None, None, None]
        found: Tensor = self.unet(
            latents,
            steps,
            text,
            down_block_additional_residuals=[part * share for part in down],
            mid_block_additional_residual=middle * share,
        ).sample
        return found

    def training_step(self, batch: PromptedBatch, batch_idx: int) -> Tensor:
        h: Any = self.hparams
        count, place, draw = len(batch.images), self.device, step_draw(self, "diffusion")
        with part_of_batch(self.trainer.global_rank, self.trainer.world_size), torch.no_grad():
            latents = sampled(self.vae.encode(from_pixels(batch.images)).latent_dist, draw) * self.latent_scale
            shape = latents.shape[1:]
            noise = batch_draw(lambda rows: torch.randn(rows, *shape, generator=draw, device=place), count)
            steps = batch_draw(lambda rows: torch.randint(STEPS, (rows,), generator=draw, device=place), count)
            left_out = batch_draw(lambda rows: torch.rand(rows, 2, generator=draw, device=place), count)
            silent, keep = left_out[:, 0] < h.drop_text, (left_out[:, 1] >= h.drop_control).float()
        prompts = ["" if quiet else prompt for quiet, prompt in zip(silent.tolist(), batch.prompts)]
        loss = self.noise_loss(latents, noise, steps, prompts, batch, keep)
        self.log("train/loss", mean_over_ranks(loss.detach().clone()))
        self.count_images(count)
        return loss

    def noise_loss(
        self, latents: Tensor, noise: Tensor, steps: Tensor, prompts: list[str], batch: PromptedBatch, keep: Tensor
    ) -> Tensor:
        """Mean squared error of the noise predicted for latents that were given it at steps (B,)."""
        noisy = self.noise.add_noise(latents, noise, steps)
        text = self.encode_text(prompts)
        return F.mse_loss(self.predicted_noise(noisy, steps, text, batch.controls.float() / 255, keep), noise)

    def pipeline(self) -> Any:
        """diffusers' own pipeline around these very networks, with DDIM."""
        self.vae.register_to_config(scaling_factor=float(self.latent_scale))
        return diffusers.StableDiffusionControlNetPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            controlnet=self.controlnet,
            scheduler=DDIMScheduler(**SCHEDULE, set_alpha_to_one=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    @torch.no_grad()
    def sample(self, batch: PromptedBatch, steps: int = 20, guidance: float = 2.0, strength: float = 1.0) -> Tensor:
        """Images (B, 3, S, S) uint8 from a batch's edges and prompts; the same noise at every call."""
        pipeline = self.pipeline()
        pipeline.set_progress_bar_config(disable=True)
        seeds = range(len(batch.prompts))
        images = pipeline(
            list(batch.prompts),
            image=batch.controls.float().to(self.device) / 255,
            num_inference_steps=steps,
            guidance_scale=guidance,
            controlnet_conditioning_scale=strength,
            generator=[torch.Generator().manual_seed(self.hparams["seed"] * 1000 + seed) for seed in seeds],
            output_type="pt",
        ).images
        return to_pixels(images.to(self.device) * 2 - 1)

    def validation_step(self, batch: PromptedBatch, batch_idx: int) -> Tensor:
        """Images (B, 3, S, S) uint8 from the held-out renders' edges and prompts, which callbacks compare with them."""
        latents = self.vae.encode(from_pixels(batch.images)).latent_dist.mode() * self.latent_scale
        drawn = [derive(self.hparams["seed"], key, "validation") for key in batch.ids]  # the same at every validation
        noise = torch.from_numpy(np.stack([rng.standard_normal(latents.shape[1:]) for rng in drawn])).to(latents)
        steps = torch.tensor([int(rng.integers(STEPS)) for rng in drawn], device=self.device)
        keep = torch.ones(len(latents), device=self.device)
        loss = self.noise_loss(latents, noise, steps, list(batch.prompts), batch, keep)
        self.log("val/loss", loss, sync_dist=True, batch_size=len(latents))
        return self.sample(batch)

    test_step = validation_step


def _text_encoder(tokens: int, width: int, layers: int, heads: int, length: int) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel  # seconds to import

    config = CLIPTextConfig(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=length,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config)
