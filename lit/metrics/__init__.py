"""Metrics, each pinned to its reference implementation."""
