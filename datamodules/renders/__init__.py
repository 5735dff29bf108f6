"""Annotated renders of CAD models, and the visual and text prompts made of them (3D-DST's first stage)."""
