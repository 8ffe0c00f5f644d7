"""Names of models, and of a version of one, as requests say them."""

from __future__ import annotations

from coldframe.errors import MisuseError
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and which version of it.

    Attributes:
        name: the model.
        version: its number; None for the latest, unless there is a label.
        label: the version's label, or None.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"version {self.version} of model `{self.name}`"
        return f"version `{self.label}` of model `{self.name}`" if self.label is not None else f"model `{self.name}`"


def host_and_port(host: str, port: int) -> str:
    """Return an address as URLs and gRPC have it: those of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_model_name(name: str, *, where: str = "") -> None:
    """Refuse names that cannot be part of a URL as TensorFlow Serving writes them."""
    if not name or "/" in name or ":" in name:
        raise MisuseError("not a model's name", where=where, expected="a name without `/` and `:`", found=f"`{name}`")
