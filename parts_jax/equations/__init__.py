"""The equations of the papers as pure functions: no parameters, no networks."""
