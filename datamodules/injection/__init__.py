"""Injection: synthetic objects enter a labelled frame. Place, render, shade, blend, relabel."""

from datamodules.injection.injection import Injection

__all__ = ["Injection"]
