"""Files of weights: restricted readers, strict fitting, official formats, and plain files to write."""

from lit.weights.stylegan2_files import read_stylegan2, write_stylegan2

__all__ = ["read_stylegan2", "write_stylegan2"]
