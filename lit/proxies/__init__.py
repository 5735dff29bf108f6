"""Networks that serve and are no generators: segmenters, a pose regressor."""
