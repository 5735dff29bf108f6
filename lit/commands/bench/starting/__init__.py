"""How long data sets take to start on, and what they keep."""
