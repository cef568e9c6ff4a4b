"""Feeds mutated files to every reader of the project: see __main__.py."""
