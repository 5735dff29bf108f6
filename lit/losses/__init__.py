"""Losses of generators."""
