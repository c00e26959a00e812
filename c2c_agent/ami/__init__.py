"""The Asterisk Manager Interface (AMI), version 2 and later. Knows no call of this product.

`message` reads and writes the lines of the wire, `actions` makes the actions, `pending` matches
responses to them, `protocol` is one connection that logs in, `link` keeps one up.
"""
