"""A server that the cloud needs, on a loopback address: started, stopped, killed and removed.

A container in the machine's own network, as the Asterisks are. What the server is, its class says.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import docker
from docker.errors import DockerException, ImageNotFound, NotFound

from tests.pbx.hosts import LABEL, HostError
from tests.pbx.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from docker.models.containers import Container

_BOOT_SECONDS = 60.0


class Server(ABC):
    """One server at `address`, of an image that `scripts/prepare` builds.

    `name` is the container's.
    """

    def __init__(self, image: str, address: str) -> None:
        self.address = address
        self._image = image
        self.name = f"c2c-agent-test-{address}"
        self._container: Container | None = None

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """What its container is made with, `command` among it."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes logins."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.address}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._container is not None:
            self._container.remove(force=True, v=True)
            self._container = None

    def start(self) -> None:
        """Start it, with what it had kept if it ran before, and wait until it takes logins."""
        if self._container is None:
            self._container = self._create()
        self._container.start()
        wait_until(self._is_up, _BOOT_SECONDS, f"{self} is up")

    def stop(self) -> None:
        """Shut it down in good order."""
        self._started().stop(timeout=30)

    def kill(self) -> None:
        """End it as a crash does."""
        self._started().kill()
        self._started().wait()

    def logs(self, since: float | None = None) -> str:
        """What it logged."""
        if self._container is None:
            return ""
        whole = self._container.logs(since=since) if since else self._container.logs()
        return bytes(whole).decode("utf-8", "replace")

    def cpu_seconds(self) -> float:
        """CPU seconds that all of its processes have used so far."""
        return cpu_seconds_of(self.name)

    def _started(self) -> Container:
        if self._container is None:
            raise HostError(f"{self} was not started")
        return self._container

    def _create(self) -> Container:
        """Make the container, not yet started."""
        try:
            engine = docker.from_env()
            with suppress(NotFound):  # unless an earlier run left it behind
                engine.containers.get(self.name).remove(force=True, v=True)
            return engine.containers.create(
                self._image,
                name=self.name,
                network_mode="host",
                labels={LABEL: os.environ.get("C2C_TEST_RUN", "by hand")},
                **self._options(),
            )
        except ImageNotFound:
            raise HostError(f"no image {self._image}: scripts/test builds it") from None
        except DockerException as error:
            raise HostError(f"no Docker engine to be used here: {error}") from error

    def _is_up(self) -> bool:
        container = self._started()
        container.reload()
        if container.status != "running":
            raise HostError(f"{self} does not stay up:\n{self.logs()[-4000:]}")
        return self._answers()


def cpu_seconds_of(container: str) -> float:
    """CPU seconds that all processes of a container have used so far."""
    with closing(docker.from_env()) as engine:
        stats = engine.api.stats(container, stream=False, one_shot=True)
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
