"""`python -m parts_jax.report`: see page.py."""

from parts_jax.report.page import main

main()
