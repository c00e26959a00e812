"""Tests of agi.session with recorded sessions of real Asterisks."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2c_agent.agi.message import AgiReply, Environment, Event, Hangup, RemoteAgiError
from c2c_agent.agi.session import Session
from tests.unit.agi.playbook import play, transcript, transcripts


class TestTranscripts:
    """What the oldest and the newest Asterisk that we know really said."""

    @pytest.mark.parametrize("path", transcripts(), ids=lambda path: path.stem)
    def test_every_split(self, path: Path) -> None:
        """Cut once at any byte, or at every byte, a real session gives the same events."""
        dialogue = transcript(path)
        if "line-break" in path.name:
            for cut in range(sum(len(turn.heard) for turn in dialogue)):
                with pytest.raises(RemoteAgiError):
                    play(Session(), dialogue, cut)
            return
        whole = play(Session(), dialogue)
        size = sum(len(turn.heard) for turn in dialogue)
        assert all(play(Session(), dialogue, cut) == whole for cut in range(size))
        assert play(Session(), dialogue, *range(size)) == whole
        replies = [event for event in whole if isinstance(event, AgiReply)]
        assert len(replies) == sum(turn.said is not None for turn in dialogue)

    @pytest.mark.parametrize("path", transcripts("session"), ids=lambda path: path.stem)
    def test_session(self, path: Path) -> None:
        """Variables unset, empty and full of parentheses; applications; all kinds of results."""
        (environment, *replies), session = events_of(path)
        assert isinstance(environment, Environment)
        assert environment.get("agi_network") == "yes"
        assert environment.network_script == "c2c?job=1"
        assert environment.arguments == ("one", "", "two, three")
        assert environment.uniqueid.startswith("c2c-")
        assert environment.get("agi_calleridname") == 'Jürg "x"'
        assert environment.get("agi_dnid") == "unknown"
        value = 'a (b) c) "q" \\ é €'
        assert results(replies) == [
            (200, "0", None),
            (200, "1", None),
            (200, "1", ""),
            (200, "1", None),
            (200, "1", value),
            (200, "1", value + " s"),
            (200, "1", 'Jürg "x"'),
            (200, "0", None),
            (200, "-2", None),
            (200, "1", None),
            (200, "0", None),
            (200, "6", None),
            (200, "", "timeout"),
            (200, "-1", "writefile"),
            (200, "-1", None),
            (200, "0", None),
            (200, "1", None),
        ]
        assert not session.hung_up

    @pytest.mark.parametrize("path", transcripts("wrong-commands"), ids=lambda path: path.stem)
    def test_wrong_commands(self, path: Path) -> None:
        """510 and the long 520 are one reply each, although a usage text quotes a reply."""
        (_, *replies), _ = events_of(path)
        assert results(replies) == [
            (510, "", None),
            (520, "", None),
            (200, "0", None),
            (520, "", None),
            (520, "", None),
            (520, "", None),
            (200, "0", None),
        ]
        assert all(
            reply.text.endswith("\n520 End of proper usage.")
            for reply in replies
            if isinstance(reply, AgiReply) and reply.code == 520
        )

    @pytest.mark.parametrize("path", transcripts("520-without-usage"), ids=lambda path: path.stem)
    def test_without_usage(self, path: Path) -> None:
        """The short 520 is complete with its line."""
        (_, *replies), _ = events_of(path)
        assert results(replies) == [(520, "", None), (520, "", None), (200, "0", None)]

    @pytest.mark.parametrize("path", transcripts("dead-channel"), ids=lambda path: path.stem)
    def test_dead_channel(self, path: Path) -> None:
        """After a hangup variables can be read and set; the rest is 511, and Dial is CANCEL."""
        (_, *events), session = events_of(path)
        assert session.hung_up
        assert events[1] == Hangup()
        assert results(events) == [
            (200, "1", None),
            (200, "1", "1"),
            (511, "", None),
            (511, "", None),
            (200, "-1", None),
            (200, "1", "CANCEL"),
            (200, "1", "0"),
            (511, "", None),
            (200, "0", None),
            (200, "1", None),
        ]

    @pytest.mark.parametrize("path", transcripts("hangup-after-reply"), ids=lambda path: path.stem)
    def test_hangup_after_reply(self, path: Path) -> None:
        """First the reply to EXEC Dial, then HANGUP; and the outcome can still be asked for."""
        (_, *events), _ = events_of(path)
        assert [event == Hangup() for event in events] == [False, True, False, False, False]
        assert results(events) == [
            (200, "-1", None),
            (200, "1", "CANCEL"),
            (200, "1", "0"),
            (200, "1", None),
        ]

    @pytest.mark.parametrize("path", transcripts("hangup-before-reply"), ids=lambda path: path.stem)
    def test_hangup_before_reply(self, path: Path) -> None:
        """HANGUP between a command and its reply leaves the reply to its command."""
        (_, *events), _ = events_of(path)
        assert [event == Hangup() for event in events] == [False, True, False, False, False]
        assert results(events) == [
            (200, "0", None),
            (200, "0", None),
            (511, "", None),
            (200, "0", None),
        ]

    @pytest.mark.parametrize("path", transcripts("hangup-twice"), ids=lambda path: path.stem)
    def test_hangup_twice(self, path: Path) -> None:
        """With AGIEXITONHANGUP Asterisk says HANGUP twice."""
        (_, *events), _ = events_of(path)
        assert events == [AgiReply(200, "-1", None, "200 result=-1"), Hangup(), Hangup()]


def events_of(path: Path) -> tuple[list[Event], Session]:
    """Play a transcript in the pieces between our commands."""
    session = Session()
    return play(session, transcript(path)), session


def results(events: list[Event]) -> list[tuple[int, str, str | None]]:
    """What the replies among the events say."""
    return [
        (event.code, event.result, event.value) for event in events if isinstance(event, AgiReply)
    ]
