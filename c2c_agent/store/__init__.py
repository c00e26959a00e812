"""What survives a crash.

`sql_store` is what all databases share, its writer among it, `calls_table` and `outbox_table` are
the two tables, `retention` deletes what is old. `sqlite` and `postgres` are the two databases.
"""
