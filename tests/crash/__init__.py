"""An agent in a process of its own, killed at every step of a call through a PBX over HTTP."""
