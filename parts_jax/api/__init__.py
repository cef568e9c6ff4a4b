"""A trained model for those who want to use it: numpy in, numpy out."""
