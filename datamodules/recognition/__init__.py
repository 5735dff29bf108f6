"""Pictures of single objects with a class, and maybe a pose: ImageNet's folder layout, written and read."""
