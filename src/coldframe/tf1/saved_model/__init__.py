"""`tf.saved_model`: graphs with their variables and signatures, as serving takes them."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.saved_model"
_SOURCES: Final = [f"{_HERE}.{m}" for m in ("names", "signatures", "builder", "loader")]
_ALIASES: Final = {
    **{n: f"{_HERE}.names:{n}" for n in ("constants", "signature_constants", "tag_constants")},
    "builder": f"{_HERE}.builder:builder",
    "loader": f"{_HERE}.loader:loader",
}

__getattr__, __dir__ = namespace(__name__, "tf.saved_model", _SOURCES, _ALIASES)
