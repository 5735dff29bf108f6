"""Scores of depth, label and edge maps over any number of processes, and the files they come from."""
