"""``prepare road-masks``: where a segmenter or a map says road is."""
