"""Tests of c2c_agent/store/postgres."""
