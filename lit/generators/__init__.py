"""Generators as LightningModules: thin shells over networks, losses and the adversarial engine."""
