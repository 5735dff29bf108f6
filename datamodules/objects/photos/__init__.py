"""Single photographs with depth, from folders, the studio or labelled frames: what G3DR learns from."""
