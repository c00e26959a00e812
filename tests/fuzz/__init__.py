"""Fuzzing: hostile bytes for every parser, with what has to hold for each of them."""
