"""Experiments of IODINE's paper, of what was trained here: `python -m benchmarks.iodine`."""
