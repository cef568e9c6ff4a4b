"""Experiments of SPACE's paper."""
