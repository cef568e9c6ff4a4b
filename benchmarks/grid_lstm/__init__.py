"""Experiments of the 2D-LSTM model's paper, of what was trained here: see __main__.py."""
