"""What we reach over the network, and how we sign.

`endpoints` connect and listen, `reconnect` says when to try again, `http_client` bounds what an
answer may be, `signature` signs a webhook. It may know `text` and `errors`, and nothing of calls
or PBXs.
"""
