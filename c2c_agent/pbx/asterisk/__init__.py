"""Calls on an Asterisk: AMI carries the order and tells of legs, FastAGI bridges the second leg.

`driver` is the way in. `originate` makes the order, `followed_call` follows one call,
`channel_tree` sorts its channels into legs, `call_trace` makes leg events of AMI events, `bridge`
is the conversation over FastAGI.
"""
