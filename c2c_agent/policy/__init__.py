"""Who may place which call, when, and how many. Pure: no Twisted, no clock, no I/O.

`pattern` reads Asterisk's extension patterns, `hours` the hours of a week, `numbers` which number
is meant and how it is dialled. `keys` says what each API key may do, `token` what a part of a key
may do, `pbxs` which PBX a key means, `meter` counts what was used. It knows numbers and keys, and
no call.
"""
