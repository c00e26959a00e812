"""Signatures of webhooks, judged by the specification's own library."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from c2c_agent.errors import ConfigError
from c2c_agent.net.signature import parse_secrets, signed_headers

OLD, NEW, OTHER = (
    f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2, 3)
)
BODY = b'{"type":"call.ended"}'


def now() -> int:
    """The verifier compares with the host's clock."""
    return int(time.time())


@given(st.text())
def test_verified(text: str) -> None:
    """A foreign verifier takes what was signed, whatever stands in it."""
    body = text.encode("utf-8", "replace")
    headers = signed_headers("msg_1", now(), body, parse_secrets(OLD, "file"))
    Webhook(OLD).verify(body, headers, json_parse=False)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(now() - 1)},
        {"webhook-signature": "v1,AAAA"},
    ],
)
def test_changed(changed: dict[str, str]) -> None:
    """It does not take what was changed on the way: each header is under the signature."""
    headers = signed_headers("msg_1", now(), BODY, parse_secrets(OLD, "file"))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY, {**headers, **changed})


def test_another_body() -> None:
    """Nor another body."""
    headers = signed_headers("msg_1", now(), BODY, parse_secrets(OLD, "file"))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY + b" ", headers)


def test_rotation() -> None:
    """While a secret is exchanged, receivers with either take it, and nobody else."""
    headers = signed_headers("msg_1", now(), BODY, parse_secrets(f"{NEW}\n{OLD}\n", "file"))
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(BODY, headers) == {"type": "call.ended"}
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY, headers)


@pytest.mark.parametrize(
    "text",
    [
        "c2Vjcmv0",
        "whsec_!!!!",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        f"{OLD}\nsecret",
    ],
)
def test_no_secret(text: str) -> None:
    """What is no secret is refused, without being shown."""
    with pytest.raises(ConfigError, match=r"^crm\.whsec: each line should be whsec_ and") as caught:
        parse_secrets(text, "crm.whsec")
    assert text not in str(caught.value)


def test_no_line() -> None:
    """An empty file as well."""
    with pytest.raises(
        ConfigError, match=r"^crm\.whsec: this file must hold a line with a secret, whsec_…"
    ):
        parse_secrets("\n", "crm.whsec")


def test_lengths() -> None:
    """From 24 to 64 bytes, as the specification says."""
    for length in (24, 64):
        text = "whsec_" + base64.b64encode(bytes(length)).decode()
        assert parse_secrets(text, "file") == (bytes(length),)
