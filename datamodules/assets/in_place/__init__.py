"""Objects whose pictures were made for their place in one frame, and are drawn there and nowhere else."""
