"""The agent as a whole: put together from a configuration, started and stopped in order.

`agent` is the whole, `sharing` what several processes share, `reload` takes over a new
configuration.
"""
