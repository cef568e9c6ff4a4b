"""Simulated worlds: MuJoCo moves the bodies, ray casting draws them (no OpenGL)."""
