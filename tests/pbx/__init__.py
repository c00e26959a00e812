"""Tests against real Asterisks and real SIP phones."""
