"""What has to be known of tokens beside what they say themselves: how often used, and revoked."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred

from c2c_agent.store.calls_table import STEP, Connection
from c2c_agent.store.outbox_table import Database

#: One statement, so that two processes at once do not both take the last use.
_USE: Final = """
    INSERT INTO tokens (key_name, token, used, revoked, expires_at)
    VALUES (:key_name, :token, 1, 0, :expires_at)
    ON CONFLICT (key_name, token) DO UPDATE SET used = tokens.used + 1
    WHERE tokens.used < :uses AND tokens.revoked = 0
"""
_REVOKE: Final = """
    INSERT INTO tokens (key_name, token, used, revoked, expires_at)
    VALUES (:key_name, :token, 0, 1, :expires_at)
    ON CONFLICT (key_name, token) DO UPDATE SET revoked = 1
"""
_REVOKED: Final = """
    SELECT 1 FROM tokens WHERE key_name = :key_name AND token = :token AND revoked = 1
"""
_DELETE_OLD: Final = f"""
    DELETE FROM tokens WHERE token IN (
        SELECT token FROM tokens WHERE expires_at < :before LIMIT {STEP}
    ) AND expires_at < :before
"""  # noqa: S608 - a number of our own


class TokensTable:
    """The tokens of all processes of a store. Every Deferred fails with StoreError where it does.

    A token is known by its id and the name of its key.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def use(self, key_name: str, token: str, uses: int, expires_at: float) -> Deferred[bool]:
        """Use a token that can be used so often, once more; False: it cannot."""
        values = {
            "key_name": key_name,
            "token": token,
            "uses": uses,
            "expires_at": expires_at,
        }
        return self._database.write(lambda writer: writer.execute(_USE, values).rowcount == 1)

    def revoke(self, key_name: str, token: str, expires_at: float) -> Deferred[None]:
        """End a token, whether it is known or not; it expires by `expires_at`."""
        values = {"key_name": key_name, "token": token, "expires_at": expires_at}

        def change(writer: Connection) -> None:
            writer.execute(_REVOKE, values)

        return self._database.write(change)

    def is_revoked(self, key_name: str, token: str) -> Deferred[bool]:
        """Whether somebody has ended it."""
        values = {"key_name": key_name, "token": token}
        return self._database.read(
            lambda reader: reader.execute(_REVOKED, values).fetchone() is not None
        )

    def delete_old(self, before: float) -> Deferred[int]:
        """Forget tokens that expired before a moment: a few, and gives how many those were."""
        values = {"before": before}
        return self._database.write(lambda writer: writer.execute(_DELETE_OLD, values).rowcount)
