"""Square crops of frames about single objects, with their edges: to learn from, and to draw over in place."""
