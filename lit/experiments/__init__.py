"""Comparisons: grids of runs, their execution, paired statistics, published figures."""
