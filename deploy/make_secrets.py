"""Makes what each service of compose.yml reads, with fresh secrets, in the volume /made.

The first start runs it, as root, in the container `secrets`; a later one changes nothing. What a
service is to have is in a folder of its own, which nobody but root and the service's user can read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from c2c_agent.policy.keys import key_digest, new_secret

HERE = Path("/deploy")
MADE = Path("/made")
BROKER = "127.0.5.3"

#: Each folder, and the user of the service that reads it.
OWNERS = {
    "agent": "c2c-agent",
    "asterisk": "asterisk",
    "broker": "rabbitmq",
    "cloud-a": "c2c-agent",
    "cloud-b": "c2c-agent",
    "database": "postgres",
}


def main() -> None:
    """Make everything, or nothing."""
    if (MADE / "done").exists():
        return
    for name in OWNERS:
        (MADE / name).mkdir(exist_ok=True)
    _authority()
    _broker(amqp := secrets.token_urlsafe())
    (MADE / "database" / "postgresql.password").write_text(database := secrets.token_urlsafe())
    key = new_secret()
    for name in ("cloud-a", "cloud-b"):
        _cloud(MADE / name, key, amqp, database)
    _pbx(secrets.token_urlsafe())
    for name, user in OWNERS.items():
        _give(MADE / name, user)
    (MADE / "done").touch()
    print(f"The first key, for callers of both relays (it is shown this once):\n\n    {key}\n")  # noqa: T201


def _authority() -> None:
    """A certificate authority of this broker's own, and who it knows: broker and agent."""
    authority = MADE / "authority"
    authority.mkdir(mode=0o700, exist_ok=True)
    own = [f"-keyout={authority}/ca.key", f"-out={authority}/ca.pem"]
    _openssl("req", "-x509", "-subj=/CN=c2c-agent of compose.yml", *own)
    for name, folder, usage in (
        ("broker", "broker", f"serverAuth\nsubjectAltName=IP:{BROKER}"),
        ("pbx1", "agent", "clientAuth"),
    ):
        place = MADE / folder / name
        request, extensions = authority / f"{name}.csr", authority / f"{name}.ext"
        extensions.write_text(f"extendedKeyUsage={usage}\n")
        _openssl("req", f"-subj=/CN={name}", f"-keyout={place}.key", f"-out={request}")
        signing = [f"-CA={authority}/ca.pem", f"-CAkey={authority}/ca.key", "-CAcreateserial"]
        _openssl("x509", f"-in={request}", *signing, f"-extfile={extensions}", f"-out={place}.pem")
        shutil.copy(authority / "ca.pem", place.parent)


def _openssl(command: str, *arguments: str) -> None:
    fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    words = [word for argument in arguments for word in argument.split("=", 1)]
    days = ["-days", "3650"] if command == "x509" or "-x509" in words else []
    making = fresh if command == "req" else ["-req"]
    subprocess.run(  # noqa: S603
        ["/usr/bin/openssl", command, *making, *days, *words], check=True, capture_output=True
    )


def _broker(password: str) -> None:
    """The definitions that are shipped, with a password for the relays; the agent has none."""
    definitions = json.loads((HERE / "definitions.json").read_text())
    salt = os.urandom(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    for user in definitions["users"]:
        if user["name"] == "cloud":
            user["password_hash"] = base64.b64encode(salt + digest).decode()
    (MADE / "broker" / "definitions.json").write_text(json.dumps(definitions))
    for name in ("rabbitmq.conf", "enabled_plugins"):
        shutil.copy(HERE / name, MADE / "broker")


def _cloud(folder: Path, key: str, amqp: str, database: str) -> None:
    shutil.copy(HERE / "cloud.yml", folder / "c2c-agent.yml")
    (folder / "conf.d").mkdir(exist_ok=True)
    shutil.copy(HERE / f"{folder.name}.yml", folder / "conf.d")
    (folder / "amqp.password").write_text(amqp)
    (folder / "postgresql.password").write_text(database)
    keys = [{"name": "first", "sha256": key_digest(key), "allow": ["_8XX"], "agent": "pbx1"}]
    (folder / "conf.d" / "keys.yml").write_text(json.dumps({"keys": keys}))  # JSON is YAML, too


def _pbx(secret: str) -> None:
    shutil.copy(HERE / "agent.yml", MADE / "agent" / "c2c-agent.yml")
    (MADE / "agent" / "ami.secret").write_text(secret)
    shipped = Path("/usr/share/doc/c2c-agent/examples/asterisk-conf")
    user = (shipped / "manager.d" / "c2c-agent.conf").read_text()
    folder = MADE / "asterisk"
    shutil.copytree(HERE / "asterisk", folder, dirs_exist_ok=True)
    (folder / "manager.d").mkdir(exist_ok=True)
    (folder / "manager.d" / "c2c-agent.conf").write_text(user.replace("CHANGE_ME", secret))
    for name in ("c2c-first.conf", "c2c-bridge.conf"):
        shutil.copy(shipped / name, folder)


def _give(folder: Path, user: str) -> None:
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, "root", user)
        path.chmod(0o750 if path.is_dir() else 0o640)


if __name__ == "__main__":
    main()
