"""A small Stable Diffusion with a ControlNet, of diffusers' own classes, that the suite trains itself.

The text encoder, U-Net and ControlNet learn together from pictures with edges and prompts: starting from noise, there
is no finished model that a ControlNet could leave alone. Given a ``base``, that one is frozen and the ControlNet starts
as its copy, as in Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models", ICCV 2023.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import torch.nn.functional as F
from diffusers import ControlNetModel
from torch import Tensor

from datamodules.errors import InputError
from datamodules.renders.model_meshes import STUDIO_CLASSES
from datamodules.renders.prompted_images import PromptedBatch
from detectors.rank_counts import mean_over_ranks
from lit.generators.dst.autoencoder import take_over
from lit.generators.dst.latent_diffusion import LatentDiffusion, build_unet, ddim
from lit.generators.dst.text_encoder import build_text_encoder, encoded
from lit.generators.dst.tokenizer import prompt_words, word_tokenizer
from lit.networks.image_range import from_pixels, to_pixels
from lit.weights.fitting import restore


class DstDiffusion(LatentDiffusion):
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
        encoder_groups: of the autoencoder's; None: as many.
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
        encoder_groups: int | None = None,
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
        side = self.build_latents(len(channels))
        self.tokenizer = word_tokenizer(prompt_words((*STUDIO_CLASSES, *words)), text_length)
        self.text_encoder = build_text_encoder(len(self.tokenizer), text_width, text_layers, heads, text_length)
        self.unet = build_unet(side, channels, layers, heads, text_width, groups)
        hints = tuple(16 * 2**level for level in range(len(encoder_channels)))  # halves the edges' side as often
        self.controlnet = ControlNetModel.from_unet(self.unet, conditioning_embedding_out_channels=hints)

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
        elif h.start is None or h.autoencoder is not None:
            self.take_autoencoder()

    def encode_text(self, prompts: tuple[str, ...] | list[str]) -> Tensor:
        """(B, L, width) features of B texts."""
        features: Tensor = encoded(self.tokenizer, self.text_encoder, list(prompts))
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
        draws = self.step_draws(from_pixels(batch.images))
        silent, keep = draws.chances[:, 0] < h.drop_text, (draws.chances[:, 1] >= h.drop_control).float()
        prompts = ["" if quiet else prompt for quiet, prompt in zip(silent.tolist(), batch.prompts)]
        loss = self.noise_loss(draws.latents, draws.noise, draws.steps, prompts, batch, keep)
        self.log("train/loss", mean_over_ranks(loss.detach().clone()))
        self.count_images(len(batch.images))
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
            scheduler=ddim(),
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
        draws = self.held_out_draws(from_pixels(batch.images), batch.ids)
        keep = torch.ones(len(batch.ids), device=self.device)
        loss = self.noise_loss(draws.latents, draws.noise, draws.steps, list(batch.prompts), batch, keep)
        self.log("val/loss", loss, sync_dist=True, batch_size=len(batch.ids))
        return self.sample(batch)

    test_step = validation_step
