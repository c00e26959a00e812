"""Tests of the modules, each in the place of its module; no real I/O, no real time."""
