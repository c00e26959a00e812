"""Switchvox: calls are placed and followed over its Extend API.

`extend_api` is what is asked and answered, `transport` one HTTP request, `client` who logs in and
asks. `matching` says which entry of the PBX's lists is which call.
"""
