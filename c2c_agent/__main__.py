"""The command line: `c2c-agent run`, `check`, `call`, `status`, `calls`, `setup`, `store`, more.

Here the commands are only listed; each stands in `cli`.
"""

from __future__ import annotations

from c2c_agent.cli.calls import (
    call,
    cancel,
    replay,
    start_calls,
    status,
    stop_calls,
    targets,
)
from c2c_agent.cli.check import check
from c2c_agent.cli.options import program
from c2c_agent.cli.overview import calls, reports
from c2c_agent.cli.probe import probe
from c2c_agent.cli.run import run
from c2c_agent.cli.setup import key, setup
from c2c_agent.cli.store import store
from c2c_agent.cli.webhook import webhook

main = program(
    *(run, check, setup, key, store, webhook, probe),
    *(call, status, cancel, calls, reports, targets, replay, stop_calls, start_calls),
)


if __name__ == "__main__":
    main(prog_name="c2c-agent")
