"""Tests of c2c_agent/pbx/switchvox."""
