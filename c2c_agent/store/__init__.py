"""What survives a crash.

`group_commit` is the writer that all databases share, `calls_table` and `outbox_table` are the
two tables, `retention` deletes what is old. `sqlite` and `postgres` are the two databases.
"""
