"""Stable Diffusion XL and 3 with ControlNets: tiny random folders in diffusers' layout, loaded and drawn with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from datamodules.errors import InputError
from lit.generators.dst.pipelines import ControlledPipeline, PipelineSettings
from lit.generators.dst.tokenizer import prompt_words, word_tokenizer

WIDTH = 32


def text_parts(projected: bool) -> dict[str, Any]:
    """Two tokenizers and text encoders; the second, and where ``projected`` the first, gives a vector of all words."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = word_tokenizer(prompt_words())
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 37, "projection_dim": WIDTH}
    config = CLIPTextConfig(
        **sizes, num_hidden_layers=2, num_attention_heads=4, vocab_size=len(tokenizer), max_position_embeddings=32,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    first = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
    return {
        "tokenizer": tokenizer,
        "tokenizer_2": word_tokenizer(prompt_words()),
        "text_encoder": first,
        "text_encoder_2": CLIPTextModelWithProjection(config),
    }


def write_xl(folder: Path) -> None:
    """A StableDiffusionXLControlNetPipeline."""
    import diffusers

    blocks: dict[str, Any] = {
        "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": (2, 4),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "transformer_layers_per_block": (1, 1),
        "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH, "cross_attention_dim": 2 * WIDTH,
    }  # fmt: skip
    unet = diffusers.UNet2DConditionModel(**blocks, sample_size=16, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
    control = diffusers.ControlNetModel(**blocks, conditioning_embedding_out_channels=(8, 16))
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    diffusers.StableDiffusionXLControlNetPipeline(
        vae=vae, unet=unet, controlnet=control, scheduler=diffusers.EulerDiscreteScheduler(), **text_parts(False),
        add_watermarker=False,
    ).save_pretrained(folder, safe_serialization=True)  # fmt: skip


def write_3(folder: Path) -> None:
    """A StableDiffusion3ControlNetPipeline."""
    import diffusers
    from tokenizers import Tokenizer, models
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    letters = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz")]
    third = T5Config(vocab_size=len(letters), d_model=2 * WIDTH, d_kv=8, d_ff=16, num_layers=1, num_heads=2)

    shape: dict[str, Any] = {
        "sample_size": 16, "patch_size": 1, "in_channels": 4, "num_layers": 2, "attention_head_dim": 8,
        "num_attention_heads": 4, "joint_attention_dim": WIDTH * 2, "caption_projection_dim": 32,
        "pooled_projection_dim": 2 * WIDTH, "out_channels": 4,
    }  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, latent_channels=4, down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",), use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06,
        scaling_factor=1.5,
    )  # fmt: skip
    diffusers.StableDiffusion3ControlNetPipeline(
        transformer=diffusers.SD3Transformer2DModel(**shape), controlnet=diffusers.SD3ControlNetModel(**shape),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder_3=T5EncoderModel(third),
        tokenizer_3=T5TokenizerFast(tokenizer_object=Tokenizer(models.Unigram(letters, unk_id=2))), **text_parts(True),
    ).save_pretrained(folder, safe_serialization=True)  # fmt: skip


@pytest.mark.parametrize(("family", "write", "scheduler"), [("sdxl", write_xl, "ddim"), ("sd3", write_3, None)])
def test_each_family_draws_the_same_again_and_follows_its_control(
    family: Any, write: Any, scheduler: str | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    write(tmp_path / family)
    chosen = PipelineSettings(
        str(tmp_path / family), family=family, scheduler=scheduler, steps=2, guidance=2.0, strength=1.0
    )
    pipeline = ControlledPipeline(chosen)
    control = pipeline.pipeline.controlnet  # whose last layers begin at zero, so that it says nothing yet
    with torch.no_grad():
        for value in control.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    edges = np.zeros((2, 32, 32, 3), np.uint8)
    edges[:, 8:24, 8] = 255
    words = ["a photo of a car", "a photo of a van"], ["", ""]
    drawn = pipeline.draw([edges], *words, [3, 4])
    assert drawn.shape == (2, 32, 32, 3)
    assert drawn.std() > 0
    assert np.array_equal(pipeline.draw([edges], *words, [3, 4]), drawn)
    assert not np.array_equal(pipeline.draw([edges], *words, [3, 5])[1], drawn[1])
    alone = pipeline.draw([edges[1:]], words[0][1:], words[1][1:], [4])[0]
    np.testing.assert_allclose(
        alone.astype(int), drawn[1].astype(int), atol=1
    )  # the sum of a batch may round otherwise
    assert not np.array_equal(pipeline.draw([255 - edges], *words, [3, 4]), drawn)
    assert not np.array_equal(pipeline.draw([edges], ["a photo of a van"] * 2, ["", ""], [3, 4])[0], drawn[0])
    with pytest.raises(InputError, match=r"cannot draw 1 images of 32 pixels|cannot be loaded"):
        ControlledPipeline(PipelineSettings(str(tmp_path / family), steps=2)).draw([edges[:1]], ["a"], [""], [0])
