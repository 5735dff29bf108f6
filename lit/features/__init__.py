"""Frozen feature networks with weights from local files."""
