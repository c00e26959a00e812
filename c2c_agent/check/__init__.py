"""`c2c-agent check`: looks at the configuration and the PBX, and says what to do.

`finding` is one line of it, `way_round` goes the way of a call, `exposure` looks at who can
listen.
"""
