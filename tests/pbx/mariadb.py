"""A real MariaDB with the table that a FreePBX keeps its CDRs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.cloud.servers import Server

if TYPE_CHECKING:
    from tests.pbx.hosts import AsteriskHost

PORT: Final = 3306
USER: Final = "asterisk"
PASSWORD: Final = "the-password-of-the-cdrs"

_SOCKET: Final = "/tmp/mariadb.socket"  # noqa: S108 - in its own container

#: Columns of that table as long as FreePBX's are. Its ids have 32 characters.
_TABLE: Final = """
CREATE DATABASE asteriskcdrdb;
CREATE TABLE asteriskcdrdb.cdr (
    calldate datetime, clid varchar(80), src varchar(80), dst varchar(80), dcontext varchar(80),
    channel varchar(80), dstchannel varchar(80), lastapp varchar(80), lastdata varchar(80),
    duration int, billsec int, disposition varchar(45), amaflags int, accountcode varchar(20),
    uniqueid varchar(32), userfield varchar(255), linkedid varchar(32), peeraccount varchar(80),
    sequence int
);
"""

#: By which Asterisk writes there.
_MODULES: Final = ("res_odbc_transaction", "res_odbc", "cdr_adaptive_odbc")

_COMMAND: Final = [
    "mariadbd",
    "--user=mysql",
    f"--port={PORT}",
    f"--socket={_SOCKET}",
    "--pid-file=/tmp/mariadb.pid",
    "--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO",
]


class CdrDatabase(Server):
    """One MariaDB."""

    def __init__(self, address: str) -> None:
        super().__init__("c2c-agent-test/mariadb:latest", address)

    def make_table(self) -> None:
        """Make the table, and the user who writes to it."""
        user = f"'{USER}'@'%'"
        self.run(
            f"{_TABLE} CREATE USER {user} IDENTIFIED BY '{PASSWORD}';"
            f"GRANT ALL ON asteriskcdrdb.* TO {user};"
        )

    def rows(self, *columns: str) -> list[tuple[str, ...]]:
        """What was written so far, of these columns."""
        # What is empty is not written.
        wanted = ", ".join(f"coalesce({column}, '')" for column in columns)
        text = self.run(f"SELECT {wanted} FROM asteriskcdrdb.cdr")  # noqa: S608 - our own names
        return [tuple(line.split("\t")) for line in text.splitlines()]

    def run(self, statements: str) -> str:
        """Carry out statements; what they print. Raises AssertionError where one fails."""
        command = ["mariadb", f"--socket={_SOCKET}", "--batch", "--skip-column-names"]
        code, output = self._started().exec_run([*command, "--execute", statements])
        assert isinstance(output, bytes)
        assert code == 0, output
        return output.decode()

    # Server

    def _options(self) -> dict[str, Any]:
        return {"command": [*_COMMAND, f"--bind-address={self.address}"]}

    def _answers(self) -> bool:
        ping = ["mariadb-admin", f"--socket={_SOCKET}", "ping"]
        return bool(self._started().exec_run(ping)[0] == 0)


def write_cdrs_to(host: AsteriskHost, database: CdrDatabase) -> None:
    """Have an Asterisk, not started yet, write its CDRs there as well."""
    host.files["modules.conf"] += "".join(f"load = {name}.so\n" for name in _MODULES)
    host.files["cdr_adaptive_odbc.conf"] = """
[cdr]
connection = cdr
table = cdr
alias start => calldate
"""
    host.files["res_odbc.conf"] = f"""
[cdr]
enabled = yes
dsn = cdr
username = {USER}
password = {PASSWORD}
pre-connect = yes
"""
    host.files["odbc.ini"] = f"""
[cdr]
DRIVER = MariaDB Unicode
SERVER = {database.address}
PORT = {PORT}
DATABASE = asteriskcdrdb
"""
