"""CLEVRER's own files, and their conversion into examples."""
