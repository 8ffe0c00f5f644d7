"""Which ops coldframe runs, and where: of the whole table, of one op, of a graph."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable
from typing import Any, Final

from coldframe.errors import UnsupportedOpError, near_names
from coldframe.graph.signatures import ArgDef, AttrDef, OpSignature, all_names, known, signature
from coldframe.ops import Op, table
from coldframe.records import dataclass
from coldframe.runtime.inspection.report import plain
from coldframe.runtime.source import open_source

_RESOLVED: Final = frozenset({"call", "if", "case", "while"})
RUNS: Final = ("compiled", "numpy", "runtime", "missing")


@dataclass(frozen=True, slots=True)
class OpFact:
    """One op.

    Attributes:
        name: its name.
        count: how often a graph has it; 0 outside of graphs.
        runs: ``compiled`` (by the engine, where dtypes and attributes allow), ``numpy``, ``runtime`` (inputs,
            constants, calls and control flow, which the runtime resolves), or ``missing``.
        reason: why it is left to numpy, or is missing.
    """

    name: str
    count: int
    runs: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as what `json.dumps` takes."""
        found: dict[str, Any] = plain(self)
        return found


def op_fact(name: str, count: int = 0) -> OpFact:
    """Return where the op called `name` runs."""
    ops = table()
    if name not in ops:
        reason = "TensorFlow's, not in the op table" if known(name) else "no op of TensorFlow"
        return OpFact(name, count, "missing", reason)
    op = ops[name]
    if op.placeholder or op.const or op.control or op.role in _RESOLVED:
        return OpFact(name, count, "runtime", "")
    why = _left_to_numpy(op)
    return OpFact(name, count, "numpy" if why else "compiled", why)


def _left_to_numpy(op: Op) -> str:
    if "onnx" in op.rules and (op.host or op.stateful):  # the rule is for what numpy does another way, such as lists
        return ""
    if op.host:
        return op.host
    if op.stateful or op.effect:
        return "it has state or effects"
    return "random" if op.random else ""


def covered() -> tuple[OpFact, ...]:
    """Return every op in the table, sorted by name."""
    return tuple(op_fact(n) for n in sorted(table()))


def graph_ops(source: str | os.PathLike[str], *, tags: Iterable[str] | None = None) -> tuple[OpFact, ...]:
    """Return the ops of a graph, those of its functions included: missing ones first, then the most frequent.

    Raises:
        NotFoundError, WrongFileError, CorruptError: as `coldframe.load`.
    """
    graph = open_source(source, tags=tags).graph
    count = collections.Counter(n.op for n in graph)
    for name in graph.functions:
        count.update(n.op for n in graph.functions[name].body)
    facts = (op_fact(o, n) for o, n in count.items() if o not in graph.functions)
    return tuple(sorted(facts, key=lambda f: (f.runs != "missing", -f.count, f.name)))


def describe(name: str) -> str:
    """Return an op's signature and where it runs, as text.

    Raises:
        UnsupportedOpError: TensorFlow has no such op; near names are suggested.
    """
    if not known(name):
        raise UnsupportedOpError(f"TensorFlow has no op called `{name}`", hint=near_names(name, all_names()))
    sig, fact = signature(name), op_fact(name)
    ops = table()
    summary = f": {ops[name].summary}" if name in ops and ops[name].summary else ""
    lines = [f"{name}{summary}", f"  runs      {fact.runs}{f' ({fact.reason})' if fact.reason else ''}"]
    lines += [f"  input     {_arg(a)}" for a in sig.inputs]
    lines += [f"  output    {_arg(a)}" for a in sig.outputs]
    lines += [f"  attribute {_attr(a, sig)}" for a in sig.attrs.values()]
    if name in ops and ops[name].lenient:
        lines.append(f"  compiled, it also answers {ops[name].lenient}; TensorFlow and numpy refuse that")
    if sig.deprecated is not None:
        lines.append(f"  refused by TensorFlow in new graphs since GraphDef version {sig.deprecated}")
    return "\n".join(lines)


def _arg(a: ArgDef) -> str:
    kind = a.type.name if a.type is not None else a.type_attr or a.type_list_attr or ""
    ref = "a reference to " if a.is_ref else ""
    return f"{a.name}: {ref}{f'{a.number_attr} x {kind}' if a.number_attr else kind}"


def _attr(a: AttrDef, sig: OpSignature) -> str:
    text = f"{a.name}: {a.type}"
    if a.allowed:
        text += f" of {', '.join(str(v) for v in a.allowed)}"
    if a.minimum is not None:
        text += f", at least {a.minimum}"
    if not a.has_default:
        return text
    default = a.default.decode("latin-1") if isinstance(a.default, bytes) else a.default
    return f"{text} = {default!r}"
