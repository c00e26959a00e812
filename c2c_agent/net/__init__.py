"""What we reach over the network, and how we sign: nothing of calls or PBXs.

`endpoints` connect and listen, `signature` signs a webhook.
"""
