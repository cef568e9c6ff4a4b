"""Scores of masks and pictures: numpy and JAX, no model, no data set."""
