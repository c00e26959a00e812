"""Tests of c2c_agent/cli."""
