"""A real RabbitMQ on a loopback address: started, asked, stopped, killed and removed.

It has the users and permissions of `deploy/definitions.json`, and a few more of the same kind.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import socket
import tarfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.cloud.servers import Server
from tests.pbx.hosts import HostError

if TYPE_CHECKING:
    from docker.models.containers import Container

    from tests.certificates import Authority

ADDRESS: Final = "127.0.0.30"
PORT: Final = 5672
TLS_PORT: Final = 5671
PASSWORD: Final = "a password of the tests"

_IMAGE: Final = "c2c-agent-test/rabbitmq:latest"
_DEFINITIONS: Final = Path(__file__).parents[2] / "deploy" / "definitions.json"

#: Users of the tests: name, and whose rights in `deploy/definitions.json` they are like.
USERS: Final = {"cloud": "cloud", "pbx1": "pbx1", "pbx2": "pbx1"}

_SETTINGS: Final = f"""\
listeners.tcp.1 = {{address}}:{PORT}
listeners.ssl.1 = {{address}}:{TLS_PORT}
ssl_options.cacertfile = /etc/rabbitmq/ca.pem
ssl_options.certfile = /etc/rabbitmq/broker.pem
ssl_options.keyfile = /etc/rabbitmq/broker.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = EXTERNAL
auth_mechanisms.2 = PLAIN
load_definitions = /etc/rabbitmq/definitions.json
log.console = true
log.console.level = info
"""

_ENVIRONMENT: Final = {
    "RABBITMQ_NODENAME": "c2c@localhost",
    "ERL_EPMD_ADDRESS": "127.0.0.1",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
}

#: Of Erlang's own, where all brokers are on one address: added to the last number of theirs.
_EPMD_PORT: Final = 14339
_DIST_PORT: Final = 25669


class Broker(Server):
    """One RabbitMQ."""

    def __init__(self, authority: Authority, address: str = ADDRESS) -> None:
        super().__init__(_IMAGE, address)
        self.authority = authority

    def depth(self, queue: str) -> int:
        """How many messages a queue holds, also those that nobody has acknowledged yet."""
        listed = self.ctl("list_queues", "--silent", "name", "messages")
        depths = dict(line.split("\t") for line in listed.splitlines() if "\t" in line)
        return int(depths.get(queue, 0))

    def ctl(self, *command: str) -> str:
        """What `rabbitmqctl` prints."""
        code, output = self._started().exec_run(["rabbitmqctl", *command], user="rabbitmq")
        assert isinstance(output, bytes)
        text = output.decode("utf-8", "replace")
        if code != 0:
            raise HostError(f"rabbitmqctl {' '.join(command)}: {text}")
        return text

    # Server

    def _options(self) -> dict[str, Any]:
        number = int(self.address.rpartition(".")[2])
        environment = {
            **_ENVIRONMENT,
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "ERL_EPMD_PORT": str(_EPMD_PORT + number),
            "RABBITMQ_DIST_PORT": str(_DIST_PORT + number),
        }
        return {"command": ["rabbitmq-server"], "user": "rabbitmq", "environment": environment}

    def _create(self) -> Container:
        container = super()._create()
        container.put_archive("/etc/rabbitmq", self._files())
        return container

    def _files(self) -> bytes:
        server = self.authority.issue("broker", self.address)
        files = {
            "rabbitmq.conf": _SETTINGS.format(address=self.address).encode(),
            "enabled_plugins": b"[rabbitmq_auth_mechanism_ssl].\n",
            "definitions.json": json.dumps(_definitions()).encode(),
            "ca.pem": self.authority.file.read_bytes(),
            "broker.pem": server.certificate.read_bytes(),
            "broker.key": server.key.read_bytes(),
        }
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
        return archive.getvalue()

    def _answers(self) -> bool:
        try:
            with closing(socket.create_connection((self.address, PORT), timeout=1)) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(8))
        except OSError:
            return False


def _definitions() -> dict[str, Any]:
    """Those that are shipped, with passwords, for all users of the tests."""
    shipped = json.loads(_DEFINITIONS.read_text(encoding="utf-8"))
    made: dict[str, Any] = {**shipped, "users": [], "permissions": [], "topic_permissions": []}
    made["queues"] = [queue for queue in shipped["queues"] if "jobs" not in queue["name"]]
    for name, like in USERS.items():
        made["users"].append({"name": name, "password_hash": _hash(PASSWORD), "tags": []})
        for kind in ("permissions", "topic_permissions"):
            made[kind] += [
                json.loads(json.dumps(entry).replace(like, name))
                for entry in shipped[kind]
                if entry["user"] == like
            ]
        made["queues"] += [
            json.loads(json.dumps(queue).replace(like, name))
            for queue in shipped["queues"]
            if queue["name"].endswith(f".{like}")
        ]
    return made


def _hash(password: str) -> str:
    """A password as RabbitMQ keeps it: salt, and SHA-256 of salt and password."""
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
