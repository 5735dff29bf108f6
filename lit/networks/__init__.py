"""Networks as plain modules; nothing here knows training, data or files."""
