"""Poses out of a 2D GAN (Lift3D, section 3.2): codes that hold them, cars drawn in them, and how well they stand."""
