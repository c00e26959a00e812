"""Switchvox: calls are placed and followed over its Extend API.

`extend_api` is what is asked and answered, `client` who logs in and asks. `order` is what the PBX
is told of a call, `matching` says which entry of its lists is which call, `followed_call` what each
thing that is heard of a call means. `driver` is what the agent sees, `login` makes the client that
a configuration describes.
"""
