"""Weights as their authors publish them, read into this suite's networks: formats, names, safe unpickling."""
