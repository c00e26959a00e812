"""The calls in progress.

`intake` judges a request and makes a call of it, `repeats` knows a second click, `active` is one
call in progress, `saving` has it stored, `dispatcher` runs its machine and does what that says,
`neighbours` are the other processes of a shared store, `kill_switch` stops all calls. Of a PBX it
sees the driver's contract, of a store its seam; it knows no transport.
"""
