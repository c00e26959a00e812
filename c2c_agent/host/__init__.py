"""What the machine gives: time, log, the reactor, systemd.

`clock` is steady over restarts, `log` writes for journald, `sd_notify` talks to systemd,
`reactor` is one that serves every connection in its turn.
"""
