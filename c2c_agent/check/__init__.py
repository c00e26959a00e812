"""`c2c-agent check`: looks at the configuration and the PBX, and says what to do.

`finding` is one line of it. `run` goes through all checks: `configuration` looks at what this host
has, `outside` at what it reaches beside the PBX, `other` at a PBX over HTTP, `switchvox` at a
Switchvox, `way_round` goes the way of a call, `exposure` looks at who else can listen or dial,
`lightness` at what a talk costs, and what contexts lose where it costs little, `answering` at
numbers behind which nobody picks up. `switchvox_probe`
measures what a Switchvox does. It knows the parts that the agent is made of, not the agent.
"""
