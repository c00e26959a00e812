"""What we reach over the network, and how we sign.

`listening` reads the description of a listener, `endpoints` connect and listen, `tls` is about the
other side's certificate, `reconnect` says when to try again, `http_client` bounds what an answer
may be, `fresh_request` sends one request over a connection of its own, `http_auth` answers a
server's challenges, `signature` signs a webhook. It may know `text` and `errors`, and nothing of
calls or PBXs.
"""
