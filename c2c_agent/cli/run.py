"""`c2c-agent run`: the agent in the foreground.

The only module that touches the global reactor: `service` is given it.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

import click

from c2c_agent.cli.options import config_option, give_up, path_of, plain_errors
from c2c_agent.config import files as configfile
from c2c_agent.host import log


@click.command()
@config_option
@plain_errors
def run(config_path: str | None) -> None:
    """Run the agent in the foreground, as systemd does.

    SIGHUP makes it read the configuration again, SIGTERM stops it.
    """
    path = path_of(config_path)
    config = configfile.load(path)
    from c2c_agent.host import reactor as fair_reactor  # noqa: PLC0415

    if "twisted.internet.reactor" not in sys.modules:
        fair_reactor.install()
    # Only now, for importing the reactor installs one.
    from twisted.internet import reactor  # noqa: PLC0415
    from twisted.internet.error import CannotListenError  # noqa: PLC0415
    from twisted.internet.threads import deferToThread  # noqa: PLC0415

    from c2c_agent.host.clock import keep_steady  # noqa: PLC0415
    from c2c_agent.host.sd_notify import Supervisor  # noqa: PLC0415
    from c2c_agent.service.agent import AgentService  # noqa: PLC0415
    from c2c_agent.service.reload import Reload  # noqa: PLC0415

    lines = log.start(config.log.level, full_numbers=config.log.numbers == "full")
    process: Any = reactor
    keep_steady(process)
    supervisor = Supervisor.of(os.environ, os.getpid(), process)
    try:
        service = AgentService(config, process, supervisor)
        reload = Reload(
            partial(deferToThread, configfile.load, path),
            agent=service,
            log=lines,
            supervisor=supervisor,
        )
        # Before the start, for until then the signal would end the process.
        signal.signal(signal.SIGHUP, lambda *_: process.callFromThread(reload))
        service.startService()
    except (CannotListenError, OSError, OverflowError) as error:  # all that a bind can raise
        give_up(str(error))
    process.addSystemEventTrigger("before", "shutdown", service.stopService)
    process.run()
