"""Evaluation of any model on a split: stage by stage, metrics by clip, files."""
