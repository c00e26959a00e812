"""The seam between calls and PBXs: what a driver has to do, and the drivers.

`driver` is the contract. Each package below is one kind of PBX: `asterisk`, `switchvox`, and
`other` for whatever takes calls over HTTP. A driver may know calls, the configuration and the
protocols, and nothing of who asks for calls.
"""
