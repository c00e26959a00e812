"""One call, from its request to its one outcome. Pure: no Twisted, no clock, no I/O.

`number` reads how people write numbers. `job` is what was asked, `request_data` what is kept of
how it was. `call` is what is known of it, `events` what can happen to it and what is then to be
done. `machine` is the table of every state and event, `transitions` are its entries. `evidence` is
what a PBX can tell of a call. When the call is over, `ending` puts together what was told and what
is stored, and `verdict` judges it; `outcome` names the results. `record` writes a call down and
reads it back. `evolve` makes copies with changes. It knows no PBX, no transport and no store.
"""
