"""What placement learns from the labels of the training set: where objects stand, and what ground is open."""
