"""Files that are there whole or not at all, and locks that end with their process."""
