"""The Asterisk Gateway Interface over TCP (FastAGI). Knows no call of this product.

`message` reads and writes the lines of the wire, `session` orders commands and replies, `channel`
is what a conversation holds on to, `protocol` accepts the connections.
"""
