"""Realism of injected objects: how well a small network tells their crops from real ones, and KID between the two."""
