"""What the machine gives: files, time, log, the reactor, systemd.

`files` writes one anew, `clock` is steady over restarts, `log` writes for journald, `sd_notify`
talks to systemd, `reactor` is one that serves every connection in its turn. It knows no call and
no PBX.
"""
