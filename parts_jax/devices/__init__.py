"""Many devices and many processes: one mesh, one axis, one start."""
