"""Files of weights: restricted readers and strict fitting; official formats lie one folder below."""

from lit.weights.official.stylegan2_files import read_stylegan2, write_stylegan2

__all__ = ["read_stylegan2", "write_stylegan2"]
