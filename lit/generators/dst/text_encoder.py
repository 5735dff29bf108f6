"""A small CLIP text encoder, with a tokenizer that knows the prompts' words."""

from __future__ import annotations

from typing import Any


def build_text_encoder(tokens: int, width: int, layers: int, heads: int, length: int) -> Any:
    """transformers' CLIPTextModel with random weights.

    Args:
        tokens: that the tokenizer knows.
        width: of its features.
        layers: of attention.
        heads: of attention.
        length: tokens of a text.
    """
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


def encoded(tokenizer: Any, encoder: Any, texts: list[str]) -> Any:
    """(B, L, width) features of B texts, on the encoder's device."""
    ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return encoder(ids.to(encoder.device))[0]
