"""f_rgbd: a diffusion model of photographs with depth that is asked for a class or by a text.

Source: Reddy et al., "G3DR", CVPR 2024, section 3.1, whose release holds nothing of it; the form follows class-
conditional latent diffusion (Rombach et al., CVPR 2022) over latents of colour and depth (LDM3D).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.objects.photos.photo import PhotoBatch
from datamodules.randomness import derive
from detectors.rank_counts import mean_over_ranks
from lit.generators.dst.autoencoder import LATENT_CHANNELS
from lit.generators.dst.latent_diffusion import (
    LatentDiffusion,
    StepDraws,
    build_unet,
    ddim,
    guided,
    seeded_noise,
)
from lit.generators.rgbd.autoencoder import RgbdAutoencoder
from lit.generators.rgbd.conditions import ClassCondition, ConditionKind, build_condition, text_tower
from lit.generators.rgbd.pictures import RgbdViews, rgbd_pictures
from lit.weights.fitting import restore


class RgbdDiffusion(LatentDiffusion):
    """Predicts the noise in latents of photographs, told their class, which is left out at times.

    Args:
        classes: names of the data's classes.
        autoencoder: checkpoint of :class:`RgbdAutoencoder` that training starts with; "none": a random one.
        condition: "class" for one token a class, "text" for a text encoder (of "a photo of a CLASS" in training).
        clip: with "text", open_clip weights whose frozen text tower reads the photographs' captions where the data has
            some; such as ``last.ckpt`` of conf/experiment/clip_studio.yaml.
        clip_model: open_clip's name of other weights.
        clip_architecture: what a checkpoint keeps of the tower; training takes it from ``clip``.
        masks: whether photographs show objects that are cut out; where they do, drawn ones do.
        size: pixels of the square pictures.
        encoder_channels, encoder_layers: of the autoencoder.
        channels: of the U-Net's resolutions; all but the last attend to the condition.
        plain: of these so many, from the finest on, do not.
        layers: of each resolution.
        heads: of attention.
        width: of the condition's tokens.
        text_layers, text_length: of the text encoder, and tokens of a text.
        groups: of group normalisation.
        encoder_groups: of the autoencoder's; None: as many.
        drop: share of photographs without their class, which guidance needs.
        sample_steps, guidance: of the sampler in validation.
        lr: of AdamW.
        total_images: training stops after so many.
        seed: of training's draws and of validation's noise.
    """

    encoder = RgbdAutoencoder

    def __init__(
        self,
        classes: tuple[str, ...],
        autoencoder: str | None = None,
        condition: ConditionKind = "class",
        masks: bool = True,
        size: int = 64,
        encoder_channels: tuple[int, ...] = (32, 64, 64),
        encoder_layers: int = 1,
        channels: tuple[int, ...] = (64, 128),
        plain: int = 0,
        layers: int = 1,
        heads: int = 4,
        width: int = 64,
        text_layers: int = 2,
        text_length: int = 16,
        groups: int = 16,
        encoder_groups: int | None = None,
        drop: float = 0.1,
        sample_steps: int = 20,
        guidance: float = 2.0,
        lr: float = 5e-4,
        total_images: int = 400_000,
        seed: int = 0,
        clip: str | None = None,
        clip_model: str = "ViT-B-16",
        clip_architecture: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(total_images)
        self.save_hyperparameters()
        if not 0 <= drop <= 1:
            raise InputError(f"drop {drop:g}: expected a share in [0, 1]")
        side = self.build_latents(len(channels))
        most = int(self.noise.config.num_train_timesteps)
        if not 1 <= sample_steps <= most:
            raise InputError(f"sample_steps {sample_steps}: expected 1 to {most}; correct model.sample_steps")
        tower = None
        if clip is not None:
            tower, self.hparams["clip_architecture"] = text_tower(clip_model, clip, clip_architecture)
        self.condition = build_condition(condition, classes, width, text_layers, heads, text_length, tower)
        self.unet = build_unet(side, channels, layers, heads, width, groups, plain)

    @staticmethod
    def load(path: str | Path) -> RgbdDiffusion:
        """A trained model in evaluation mode.

        Raises:
            InputError: no such file, or a checkpoint of something else.
        """
        return restore(RgbdDiffusion, path, "a checkpoint of conf/experiment/rgbd.yaml; train one with it")

    def setup(self, stage: str) -> None:
        """Take over the autoencoder.

        Raises:
            InputError: none is given where a training begins, or it does not fit; or the data have other classes than
                the model learns.
        """
        if stage != "fit":
            return
        found = getattr(getattr(self.trainer, "datamodule", None), "classes", None)
        if found is not None and self.known_classes is not None and set(found) != set(self.known_classes):
            raise InputError(
                f"model.classes {', '.join(self.known_classes)}: the data have {', '.join(found)}; set model.classes "
                "to these, or write photographs of the others"
            )
        if not self.images_seen:
            self.take_autoencoder()

    @property
    def known_classes(self) -> tuple[str, ...] | None:
        """Names it can be asked for; None where it reads any text."""
        return tuple(self.condition.rows) if isinstance(self.condition, ClassCondition) else None

    def training_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        draws = self.step_draws(self.pictures(batch))
        silent = (draws.chances[:, 0] < self.hparams["drop"]).tolist()
        loss = self.noise_losses(draws, ["" if quiet else text for quiet, text in zip(silent, self.said(batch))]).mean()
        self.log("train/loss", mean_over_ranks(loss.detach().clone()))
        self.count_images(len(batch))
        return loss

    def said(self, batch: PhotoBatch) -> list[str]:
        """What photographs are asked for by: their captions where a CLIP reads them, else their classes."""
        texts = batch.captions if self.hparams["clip"] is not None else ("",) * len(batch)
        return [text or name for text, name in zip(texts, batch.names)]

    def pictures(self, batch: PhotoBatch) -> Tensor:
        """(B, 4, S, S) of photographs.

        Raises:
            InputError: they have masks and the model expects none, or the other way round; or they are of another size.
        """
        h: Any = self.hparams
        if batch.masked != h.masks:
            has = "have masks" if batch.masked else "have no masks"
            raise InputError(f"the photographs {has}, model.masks is {h.masks}: give data.masks and model.masks alike")
        if batch.images.shape[2] != h.size:
            found = batch.images.shape[2]
            raise InputError(f"photographs of {found} pixels: expected model.size {h.size}; set data.size to it")
        return rgbd_pictures(batch)

    def noise_losses(self, draws: StepDraws, words: Sequence[str]) -> Tensor:
        """(B,) squared error of the noise predicted for latents that were given it, told B classes or texts."""
        noisy = self.noise.add_noise(draws.latents, draws.noise, draws.steps)
        found = self.predicted_noise(noisy, draws.steps, self.condition(words))
        return (found - draws.noise).square().flatten(1).mean(1)

    def predicted_noise(self, latents: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """(B, 4, s, s) of noisy latents, steps (B,) or one, and conditions (B, L, width)."""
        found: Tensor = self.unet(latents, steps, condition).sample
        return found

    @torch.no_grad()
    def sample(self, words: Sequence[str], seeds: Sequence[int], steps: int = 50, guidance: float = 2.0) -> Tensor:
        """Pictures (B, 4, S, S) in [-1, 1] of B classes or texts; see :mod:`lit.generators.rgbd.pictures`.

        Args:
            words: classes, or texts.
            seeds: of each picture's noise, so that its neighbours in a batch change nothing.
            steps: of the sampler.
            guidance: weight of the condition.
        """
        side = self.unet.config.sample_size
        noise = seeded_noise(seeds, (LATENT_CHANNELS, side, side), self.latent_scale)
        said, quiet = self.condition(words), self.condition([""] * len(words))
        latents = guided(self.predicted_noise, ddim(), noise, said, quiet, steps, guidance)
        pictures: Tensor = self.vae.decode(latents / self.latent_scale).sample
        return pictures.clamp(-1, 1)

    def validation_step(self, batch: PhotoBatch, batch_idx: int) -> RgbdViews:  # type: ignore[override]
        """As many drawn pictures of the photographs' classes or captions, from noise of the photographs' names."""
        h: Any = self.hparams
        pictures = self.pictures(batch)
        losses = self.noise_losses(self.held_out_draws(pictures, batch.ids), self.said(batch))
        self.note("loss", losses, batch.ids)
        seeds = [int(derive(h.seed, key, "drawn").integers(2**62)) for key in batch.ids]
        return RgbdViews.of(self.sample(self.said(batch), seeds, h.sample_steps, h.guidance), pictures)

    test_step = validation_step  # type: ignore[assignment]
