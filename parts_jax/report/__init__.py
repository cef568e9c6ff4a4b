"""A run, or several side by side, as one page to look at; `python -m parts_jax.report`."""

from parts_jax.report.comparison import write_comparison
from parts_jax.report.page import write_report

__all__ = ["write_comparison", "write_report"]
