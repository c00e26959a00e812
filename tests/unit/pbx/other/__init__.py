"""The driver for whatever takes an order over HTTP."""
