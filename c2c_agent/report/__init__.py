"""What others are told of calls: webhooks, live events, metrics, lines of the log.

`event` is what is told, as JSON; `delivery` says to whom and when, `outbox` delivers it at least
once, over a `lane` to each target, `webhook` over HTTP, in the words of one of the `formats`.
`live` follows calls as they go, `history` is what has happened to one so far, `metrics` counts them
for Prometheus, `call_log` writes their lines. It knows calls, and neither who runs them nor where
they are kept.
"""
