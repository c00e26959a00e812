"""`c2c-agent setup asterisk`: writes the AMI user and the dialplan, and takes them back.

`asterisk_conf` reads and marks Asterisk's configuration, `plan` says what is to be written; both
are pure. `files` reads and writes files, `journal` keeps what they were and undoes it, `apply`
carries a plan out. It knows the configuration, and nothing of calls.
"""
