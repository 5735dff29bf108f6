"""Adversarial training: steps, lazy penalties, augmentation, averages."""
