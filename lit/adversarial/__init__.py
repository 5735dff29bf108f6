"""Adversarial training: phases, lazy penalties, augmentation, averages of weights and gradients, image cadence."""
