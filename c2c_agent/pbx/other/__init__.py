"""Whatever takes an order for a call over HTTP: one driver, told by the configuration what to say.

`template` fills values in by the place where they land, `answer` looks into what came back, `rules`
say what it means, `request` is what goes out, `program` all that is configured; `reading` makes it
of the configuration and finds every mistake. `progress` follows one call, `order` is what is stored
of it. `client` asks, over a `connection`, and `driver` is the `PbxDriver`. It may know what `pbx`
may; only these three have Twisted.
"""
