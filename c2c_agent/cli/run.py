"""`c2c-agent run`: the agent in the foreground.

The only module that touches the global reactor: `service` is given it.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from functools import partial
from typing import Any

import click

from c2c_agent.cli.options import config_option, give_up, path_of, plain_errors
from c2c_agent.config import files as configfile
from c2c_agent.config.sections import Config
from c2c_agent.host import log
from c2c_agent.net.listening import listening


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
        give_up(_words(error, config))
    process.addSystemEventTrigger("before", "shutdown", service.stopService)
    # What is there now stays: a collection that goes through all of it takes some 50 ms, in which
    # no call is answered.
    gc.freeze()
    process.run()


def _words(error: Exception, config: Config) -> str:
    """Why the agent cannot listen, and which setting says that it should."""
    settings = {"http.listen": config.http.listen}
    for name, pbx in config.every_pbx.items():
        if pbx.asterisk is not None:
            where = "" if name == pbx.kind else f"pbxs.{name}."
            settings[f"{where}asterisk.agi.listen"] = pbx.asterisk.agi.listen
    place = str(getattr(error, "port", None))
    named = [name for name, text in settings.items() if listening(text).place == place]
    words = ": ".join([*named[:1], str(error)])
    if getattr(getattr(error, "socketError", None), "errno", None) != errno.EADDRINUSE:
        return words
    is_fastagi = any(name.endswith("asterisk.agi.listen") for name in named)
    hint = " (a FreePBX has its own FastAGI server at 4573)" if is_fastagi else ""
    return f"{words} Another program listens there: give this setting a port that is free{hint}."
