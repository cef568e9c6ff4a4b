"""Scores of masks and of pictures, and how sure they are; no model and no data set."""
