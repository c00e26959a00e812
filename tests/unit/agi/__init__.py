"""Tests of c2c-agent; each file mirrors the module whose name it bears."""
