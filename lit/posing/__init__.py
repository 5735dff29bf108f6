"""Poses for generators that learned without them: from a 2D GAN (Lift3D, section 3.2), from matching views."""
