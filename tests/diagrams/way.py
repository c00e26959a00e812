"""The way of a call through the packages: who asks whom for what, from the request to the webhook.

Each step has the name of what is called. `resolved` finds it, so a name that has changed is
noticed; and where a step leads from one package to another, one of the two imports the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from attrs import frozen

from tests.diagrams.svg import EDGE, FAINT, GREEN, INK, LINE, PALE, Sheet

#: Those outside, and the packages, from left to right.
CLIENT, ASTERISK, RECEIVER = "client", "Asterisk", "receiver"
PLACES: Final = (
    CLIENT, "web", "policy", "dispatch", "call", "store", "report", RECEIVER,
    "pbx", "agi", "ami", ASTERISK,
)  # fmt: skip
OUTSIDE: Final = (CLIENT, ASTERISK, RECEIVER)


@frozen
class Step:
    """From whom to whom, what it is about, and what is called: a name below c2c_agent."""

    source: str
    target: str
    words: str
    name: str


PARTS: Final[tuple[tuple[str, tuple[Step, ...]], ...]] = (
    (
        "The request",
        (
            Step(CLIENT, "web", "GET or POST /c2c/v2", "web.server.ApiResource.render"),
            Step("web", "policy", "whose key is it?", "policy.keys.KeyRing.find"),
            Step("web", "dispatch", "a request to call", "dispatch.intake.Intake.submit"),
            Step("dispatch", "policy", "may this key dial it?", "policy.keys.Key.faults"),
            Step("dispatch", "policy", "is it too much?", "policy.meter.Meter.admit"),
            Step("dispatch", "pbx", "what would you dial?", "pbx.driver.PbxDriver.prepare"),
            Step("dispatch", "call", "Place", "call.machine.step"),
            Step("dispatch", "store", "first of all, keep it", "store.call_store.CallStore.save"),
        ),
    ),
    (
        "The first leg",
        (
            Step("dispatch", "pbx", "now dial", "pbx.asterisk.driver.AsteriskDriver.originate"),
            Step("pbx", "ami", "Originate", "ami.link.AmiLink.send"),
            Step("ami", ASTERISK, "Action: Originate", "ami.protocol.AmiProtocol"),
            Step(ASTERISK, "ami", "Response: Success", "ami.message.Receiver.receive"),
            Step("pbx", "dispatch", "accepted", "dispatch.dispatcher.Dispatcher.leg_event"),
            Step("dispatch", "web", "the answer", "dispatch.dispatcher.Dispatcher.answer_of"),
            Step("web", CLIENT, "200, status success", "web.answers.response"),
            Step(ASTERISK, "ami", "Event: it rings", "ami.message.Receiver.receive"),
            Step("ami", "pbx", "an event", "pbx.asterisk.driver.AsteriskDriver.ami_event"),
            Step("pbx", "dispatch", "FirstRinging", "pbx.asterisk.call_trace.CallTrace.observe"),
            Step("dispatch", "call", "what is it now?", "call.machine.step"),
        ),
    ),
    (
        "The second leg",
        (
            Step(ASTERISK, "agi", "answered: agi://", "agi.protocol.AgiFactory.buildProtocol"),
            Step("agi", "pbx", "a conversation", "pbx.asterisk.driver.AsteriskDriver.accept"),
            Step("pbx", "dispatch", "may it be bridged?", "pbx.driver.PbxObserver.may_bridge"),
            Step("pbx", "agi", "Dial the second", "pbx.asterisk.bridge.bridge"),
            Step("agi", ASTERISK, 'EXEC "Dial"', "agi.channel.AgiChannel.command"),
            Step("pbx", "dispatch", "SecondAnswered", "call.events.SecondAnswered"),
        ),
    ),
    (
        "The end",
        (
            Step(ASTERISK, "ami", "Event: Hangup", "ami.message.Receiver.receive"),
            Step("pbx", "dispatch", "Gone, with all evidence", "call.events.Gone"),
            Step("dispatch", "call", "how did it end?", "call.verdict.verdict"),
            Step("dispatch", "store", "keep it, and its reports", "report.delivery.reports"),
            Step("report", "store", "what is to be told?", "report.outbox.Outbox"),
            Step("report", RECEIVER, "POST, signed", "report.webhook.Webhook.deliver"),
        ),
    ),
)

LEFT, COLUMN, ROW, TOP, LIST = 56.0, 74.0, 31.0, 88.0, 318.0


def resolved(name: str) -> object:
    """What a name below c2c_agent stands for; raises where there is no such thing."""
    words = name.split(".")
    for cut in range(len(words), 0, -1):
        try:
            found: object = import_module(".".join(["c2c_agent", *words[:cut]]))
        except ModuleNotFoundError:
            continue
        for word in words[cut:]:
            found = getattr(found, word)
        return found
    raise AssertionError(name)


def draw() -> str:
    """The picture."""
    rows = sum(len(steps) + 1 for _, steps in PARTS)
    right = LEFT * 2 + COLUMN * (len(PLACES) - 1)
    bottom = TOP + 46 + ROW * rows
    x = {place: LEFT + COLUMN * number for number, place in enumerate(PLACES)}
    sheet = Sheet(
        right + LIST,
        bottom + 64,
        "The way of a call through the packages",
        "From the request over HTTP to the webhook: what each step is about, and what is called.",
    )
    bands, y = [], TOP + 46
    for title, steps in PARTS:
        bands.append((y, title, steps))
        y += ROW * (len(steps) + 1)
    for at, _, steps in bands[::2]:
        height = ROW * (len(steps) + 1)
        sheet.box(16, at - 2, right + LIST - 32, height, fill=PALE, stroke="none")
    for place in PLACES:
        sheet.line([(x[place], TOP + 30), (x[place], bottom + 8)], stroke=EDGE, width=1.2)
        for at in (TOP, bottom + 8):
            _draw_place(sheet, place, x[place], at)
    number = 0
    for at, title, steps in bands:
        sheet.text(right, at + 22, title, size=13.5, weight=700)
        for row, step in enumerate(steps, 1):
            number += 1
            _draw_step(sheet, step, number, x, at + ROW * row + 13)
    return str(sheet)


def _draw_place(sheet: Sheet, place: str, x: float, y: float) -> None:
    outside = place in OUTSIDE
    fill, stroke, ink = (INK, INK, "#fff") if outside else ("#fff", EDGE, INK)
    sheet.box(x - 35, y, 70, 30, fill=fill, stroke=stroke)
    sheet.text(x, y + 19, place, size=11.5, weight=600, anchor="middle", mono=not outside, fill=ink)


def _draw_step(sheet: Sheet, step: Step, number: int, x: dict[str, float], y: float) -> None:
    begin, end = x[step.source], x[step.target]
    colour = GREEN if {step.source, step.target} & set(OUTSIDE) else LINE
    sheet.line([(begin, y), (end + (-1 if end > begin else 1), y)], stroke=colour, arrow=True)
    listed = LEFT * 2 + COLUMN * (len(PLACES) - 1) + 9
    for at in (begin, listed):
        sheet.dot(at, y, 9, fill=colour)
        sheet.text(at, y + 3.4, str(number), size=9.5, weight=700, anchor="middle", fill="#fff")
    sheet.text(listed + 18, y - 1, step.words, size=12)
    sheet.text(listed + 18, y + 11, step.name, size=9, mono=True, fill=FAINT)
