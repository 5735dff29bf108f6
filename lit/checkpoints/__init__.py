"""Reading official checkpoints without running anything from them, and writing plain ones."""

from lit.checkpoints.stylegan2_files import read_stylegan2, write_stylegan2

__all__ = ["read_stylegan2", "write_stylegan2"]
