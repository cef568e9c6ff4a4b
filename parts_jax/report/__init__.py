"""A run as one page to look at: `write_report`, and `python -m parts_jax.report`."""

from parts_jax.report.page import write_report

__all__ = ["write_report"]
