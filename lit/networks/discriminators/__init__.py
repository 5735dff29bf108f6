"""Discriminators of images of any number of channels, at one or two resolutions, with or without a condition."""
