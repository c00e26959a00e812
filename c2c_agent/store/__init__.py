"""What survives a crash.

`call_store` is the seam: what others see of a store. `sql_store` is what all databases share, its
writer among it; `calls_table`, `outbox_table` and `tokens_table` are the tables; `retention`
deletes what is old. `sqlite` and `postgres` are the two databases. It knows calls as they are
written down, and what is to be reported.
"""
