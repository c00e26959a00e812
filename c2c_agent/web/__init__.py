"""The HTTP server.

`server` and `connections` take requests, `request` reads one, `api` answers it, `answers` writes
the answers, `stream` the server-sent events.
"""
