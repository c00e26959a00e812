"""Tests on a whole PBX host under systemd."""
