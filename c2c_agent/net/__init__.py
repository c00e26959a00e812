"""What we reach over the network, and how we sign: nothing of calls or PBXs.

`endpoints` connect and listen, `reconnect` says when to try again, `signature` signs a webhook.
"""
