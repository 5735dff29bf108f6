"""What the user types: one file or package a command; Lightning's own commands are in :mod:`lit.trainer_cli`."""
