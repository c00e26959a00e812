"""Tests of the words in which webhooks tell of events."""
