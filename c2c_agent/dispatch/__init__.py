"""The calls in progress.

`intake` judges a request and makes a call of it, `dispatcher` runs the call's machine and does
what it says, `neighbours` are the other processes of a shared store, `kill_switch` stops all
calls. It sees of a PBX only the driver's contract.
"""
