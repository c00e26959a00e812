"""The agent as a whole: put together from a configuration, started and stopped in order.

`parts` puts it together, and so says whether a configuration can be; `agent` starts and stops it;
`reload` takes over a new configuration. Of the parts, `pbxs` are the ways to all PBXs, by their
names (`drivers`: to an Asterisk, or through a broker; `other`: over HTTP, `switchvox`: to a
Switchvox; `looks`: who looks whether these are there), `reporters` tell what became of calls,
`keys` open the agent, `tokens` has the secret for what is made of keys, `health` says how it goes,
`checks` looks for faults when somebody asks, and `sharing` is what several processes share. It may
know everything but the command line.
"""
