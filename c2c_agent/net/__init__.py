"""What we reach over the network, and how we sign.

`listening` reads the description of a listener, `endpoints` connect and listen, `reconnect` says
when to try again, `http_client` bounds what an answer may be, `signature` signs a webhook. It may
know `text` and `errors`, and nothing of calls or PBXs.
"""
