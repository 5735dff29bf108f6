"""Layers of StyleGAN2-type networks."""
