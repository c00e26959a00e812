"""The seam between calls and PBXs: what a driver has to do, and the drivers.

`driver` is the contract. Each package below is one kind of PBX.
"""
