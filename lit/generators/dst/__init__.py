"""3D-DST: from edge prompts to annotated images, with diffusers' models from a folder or trained here."""
