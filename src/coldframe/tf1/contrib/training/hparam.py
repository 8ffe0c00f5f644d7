"""`HParams`: named hyperparameters, which text can change."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from coldframe.errors import near_names

_PATTERN: Final = re.compile(
    r"(?P<name>[a-zA-Z][\w.]*)(\[\s*(?P<index>\d+)\s*\])?\s*=\s*(\[(?P<vals>[^\]]*)\]|(?P<val>[^,\[]*))\s*(,|$)"
)


class HParams:
    """Hyperparameters as attributes: ``HParams(learning_rate=0.1).learning_rate``."""

    def __init__(self, hparam_def: Any = None, model_structure: Any = None, **kwargs: Any) -> None:
        self._kinds: dict[str, tuple[type, bool]] = {}
        for name, value in kwargs.items():
            self.add_hparam(name, value)

    def add_hparam(self, name: str, value: Any) -> None:
        """Add one; raise `ValueError` where the name is taken."""
        if getattr(self, name, None) is not None:
            raise ValueError(f"Hyperparameter name is reserved: {name}")
        if isinstance(value, (list, tuple)):
            if not value:
                raise ValueError(f"Multi-valued hyperparameters cannot be empty: {name}")
            self._kinds[name] = (type(value[0]), True)
        else:
            self._kinds[name] = (type(value), False)
        setattr(self, name, value)

    def set_hparam(self, name: str, value: Any) -> None:
        """Change one, to a value of its type."""
        if name not in self._kinds:
            hint = near_names(name, list(self._kinds))
            raise KeyError(f"Unknown hyperparameter: {name}" + (f" ({hint})" if hint else ""))
        kind, several = self._kinds[name]
        if isinstance(value, list) != several:
            needed = "a list" if several else "one value"
            raise ValueError(f"Must pass {needed} for the hyperparameter {name}, not {value!r}")
        setattr(self, name, [_cast(name, kind, v) for v in value] if several else _cast(name, kind, value))

    def del_hparam(self, name: str) -> None:
        """Remove one."""
        if name in self._kinds:
            del self._kinds[name]
            delattr(self, name)

    def parse(self, values: str) -> HParams:
        """Change several, from text such as ``rate=0.1,sizes=[3,4],names[0]=x``."""
        at = 0
        changed: dict[str, Any] = {}
        while at < len(values):
            m = _PATTERN.match(values, at)
            if m is None:
                raise ValueError(f"Malformed hyperparameter value: {values[at:]}")
            at = m.end()
            name = m["name"]
            if name not in self._kinds:
                hint = near_names(name, list(self._kinds))
                raise ValueError(f"Unknown hyperparameter type for {name}" + (f" ({hint})" if hint else ""))
            if m["index"] is not None:
                whole = list(changed.get(name, getattr(self, name)))
                whole[int(m["index"])] = m["val"]
                changed[name] = whole
            elif m["vals"] is not None:
                changed[name] = [v.strip() for v in m["vals"].split(",") if v.strip()]
            else:
                changed[name] = [m["val"]] if self._kinds[name][1] else m["val"]
        return self.override_from_dict(changed)

    def override_from_dict(self, values_dict: dict[str, Any]) -> HParams:
        """Change several; return the hyperparameters."""
        for name, value in values_dict.items():
            self.set_hparam(name, value)
        return self

    def parse_json(self, values_json: str) -> HParams:
        """Change several, from a JSON object."""
        return self.override_from_dict(json.loads(values_json))

    def values(self) -> dict[str, Any]:
        """Return all by name."""
        return {name: getattr(self, name) for name in self._kinds}

    def to_json(self, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
        """Return all as a JSON object; functions are left out."""
        kept = {k: v for k, v in self.values().items() if not callable(v)}
        return json.dumps(kept, indent=indent, separators=separators, sort_keys=sort_keys)

    def get(self, key: str, default: Any = None) -> Any:
        """Return one, or `default` where it is not there."""
        return getattr(self, key) if key in self._kinds else default

    def __contains__(self, key: object) -> bool:
        return key in self._kinds

    def __repr__(self) -> str:
        return f"HParams({sorted(self.values().items())})"


def _cast(name: str, kind: type, value: Any) -> Any:
    if value is None or kind is type(None):
        return value
    if kind is bool and isinstance(value, str):
        known = {"true": True, "1": True, "false": False, "0": False}
        if value.lower() not in known:
            raise ValueError(f"Could not parse hparam {name}: {value!r} is no bool")
        return known[value.lower()]
    if isinstance(value, str) and kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"Could not cast hparam '{name}' of type '{kind.__name__}' from value {value!r}") from None
    if isinstance(value, bool) != (kind is bool) or (kind is int and isinstance(value, float)):
        raise ValueError(f"Could not cast hparam '{name}' of type '{kind.__name__}' from value {value!r}")
    return kind(value) if kind in (int, float, str, bool) else value


__all__ = ["HParams"]
