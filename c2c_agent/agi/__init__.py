"""Asterisk Gateway Interface over TCP (FastAGI): messages, sessions, and the listener."""
