"""Solids that slide, roll and collide on a floor, after CLEVRER."""
