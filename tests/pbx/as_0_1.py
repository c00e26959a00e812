"""The real agent, which places calls as version 0.1 did: what an upgrade finds in progress.

`python -m tests.pbx.as_0_1 run --config FILE` is `c2c-agent run` but for the Originate: the id of
the first channel is the request's UUID as it is written, and there is no secret, nor a phone that
is taken out of the channels that rang it.
"""

from __future__ import annotations

import sys
from typing import Any, Final
from unittest import mock

from attrs import evolve

from c2c_agent.__main__ import main
from c2c_agent.ami.actions import Action
from c2c_agent.call.call import OriginatePlan
from c2c_agent.pbx.asterisk import driver, originate

#: What version 0.1 did not send.
_NEWER: Final = ("_C2C_SECRET=", "C2C_TAKEN=")


def _make_plan(*told: Any, **settings: Any) -> OriginatePlan:
    plan = originate.make_plan(*told, **settings)
    assert isinstance(plan.order, Action)
    headers = tuple(one for one in plan.order.headers if not one[1].startswith(_NEWER))
    order = Action(plan.order.name, headers)
    data = order.as_dict(action_id=str(plan.data["ActionID"]))
    return evolve(plan, data=data, order=order, secret_digest="")


if __name__ == "__main__":
    sys.argv[0] = "c2c-agent"
    with (
        mock.patch.object(originate, "root_id", "c2c-{}".format),
        mock.patch.object(driver, "make_plan", _make_plan),
    ):
        main()
