"""The message broker, both ends: the agent beside a PBX, and the relay that sends it calls.

`messages` are the names and bodies that both ends share, `login` and `link` the connection.
`jobs` and `results` are the agent's end, `relay` is the driver at the other. It may know calls in
progress and what is reported of them; of a PBX it sees the driver's contract, of a store its seam.
"""
