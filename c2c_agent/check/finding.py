"""What a check has found. Pure."""

from __future__ import annotations

from attrs import asdict, evolve, frozen

from c2c_agent.errors import C2CError


@frozen
class Finding:
    """The result of one check; `advice` is what to do, and stands where something is to be done.

    A warning does not keep calls from working.
    """

    name: str
    message: str
    advice: str = ""
    warning: bool = False

    @property
    def failed(self) -> bool:
        """Whether calls do not work before something is done."""
        return bool(self.advice) and not self.warning

    def on(self, pbx: str) -> Finding:
        """The same, said of a PBX that has a name of its own."""
        return evolve(self, name=f"PBX {pbx}: {self.name}")

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"ok": not self.failed, **asdict(self)}


class CheckFailed(C2CError):  # noqa: N818 - it says what happened
    """A check failed, and those after it make no sense."""

    def __init__(self, name: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.finding = Finding(name, message, advice)
