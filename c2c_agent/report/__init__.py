"""What others are told of calls: webhooks, live events, metrics.

`delivery` says what is reported and when, `outbox` delivers it at least once, `webhook` over
HTTP. `live` follows calls as they go, `history` sums them up, `metrics` counts them for
Prometheus.
"""
