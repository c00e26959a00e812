"""The store that several relays share: PostgreSQL, through psycopg.

`store` is the store, `link` one connection that notices its loss, `listener` hears notifications.
`extra` finds out whether psycopg is installed at all.
"""
