"""The store of one agent: a SQLite file.

`store` opens and upgrades it, `care` checks it, copies it and makes it small again.
"""
