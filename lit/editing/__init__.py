"""Editing of conditional 3D generators: label maps drawn at any view, the session that keeps them, and its page."""
