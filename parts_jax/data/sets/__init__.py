"""The data sets, a TFDS builder each."""
