"""Write docs/ops.md and docs/limits.md from the op table, tools/op_scope.toml and tools/conformance.json.

``python tools/op_docs.py`` writes them, and the index of the op table; a test fails when they are stale.
"""

from __future__ import annotations

import collections
import fnmatch
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coldframe.graph.signatures import all_names, signature
from coldframe.ops import FAMILIES, Op, OpTable, family, table
from coldframe.runtime.inspection.coverage import op_fact

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "src" / "coldframe" / "ops" / "index.json"
SCOPE = ROOT / "tools" / "op_scope.toml"
CONFORMANCE = ROOT / "tools" / "conformance.json"
_RUNS = {"compiled": "ONNX Runtime", "numpy": "numpy", "runtime": "runtime"}


_OPS = """\
# Ops

TensorFlow's ops that coldframe runs: {count}. This page is made from the op table by `tools/op_docs.py`.
`coldframe ops NAME` shows an op's inputs, outputs and attributes; `coldframe ops GRAPH` what a graph needs.

Every op runs on numpy (`engine="reference"`). *Runs on* says who runs it otherwise: **ONNX Runtime** compiles it, where
it has kernels for the dtypes; **numpy** computes it between the compiled parts, for the reason beside it; the
**runtime** resolves it (inputs, constants, calls, control flow). XLA, with the extra `xla`, takes what ONNX Runtime
takes, and random numbers, loops and updates of variables besides. What is missing, and why: [limits](limits.md).
"""

_LIMITS = """\
# Limits

What coldframe does not run, or does not compile, and why. This page is made by `tools/op_docs.py` from the op table,
from the list of what is out of scope (`tools/op_scope.toml`) and from the last run of the conformance suites
(`tools/measure_conformance.py`). The ops that run are on [another page](ops.md).

A graph that needs an op which is missing is refused before anything runs, with all such ops named at once. Where the op
only feeds the model (a queue, an iterator, a reader of files), feed the tensor that it hands out instead: any tensor
can be fed.

## Conformance suites

Graphs of other projects' tests, run by TensorFlow 2.21 on a CPU, with what it was fed and what it answered: those of
tf2onnx and those of Deeplearning4J.

| suite | graphs | right | numeric | of these, wholly on ONNX Runtime |
|---|---|---|---|---|"""

_WRONG = """
Numeric graphs have no strings in what they are fed or answer. A graph counts as wholly on ONNX Runtime where no node
runs on numpy; what depends on constants alone is computed when the graph is compiled.

Not right:

| graph | what happens | why |
|---|---|---|"""

_LEFT = """
Nodes that run on numpy in those suites, by op and reason:

| op | reason | graphs |
|---|---|---|"""

_NUMBERS = [
    ("what", "TensorFlow on x86", "coldframe"),
    ("---", "---", "---"),
    (
        "floats that an int8, uint8, int16, uint16 or uint32 cannot hold",
        "blocks of a tensor saturate, elements left over wrap",
        "wraps, as for the elements left over",
    ),
    (
        "complex numbers divided by 0 or infinity",
        "blocks become NaN, elements left over what C says",
        "what C says",
    ),
    (
        "largest values of windows without a finite number",
        "the lowest finite number; NaN is passed over",
        "the same on numpy; minus infinity or NaN in ONNX Runtime",
    ),
    (
        "signs of eigenvectors of self-adjoint float32 matrices of more than 16 rows",
        "they hang on rounding",
        "they hang on LAPACK's",
    ),
    ("`Betainc` in float32 with large or tiny parameters", "up to 1% off", "computed in float64"),
    (
        "order of the keys that a `MutableHashTable` exports",
        "that of its hash buckets",
        "that in which they were added",
    ),
]


def index() -> str:
    """Return which ops are in which family, and the first of each role."""
    modules = {name: family(name) for name in FAMILIES}
    ops = {name: list(OpTable.of(module)) for name, module in modules.items()}
    roles = OpTable.of(*modules.values()).roles  # refuses ops that two families define
    return json.dumps({"ops": {k: v for k, v in ops.items() if v}, "roles": roles}, indent=0) + "\n"


def pages() -> dict[Path, str]:
    """Return the generated pages by path."""
    return {ROOT / "docs" / "ops.md": ops_page(), ROOT / "docs" / "limits.md": limits_page()}


# --- ops.md -----------------------------------------------------------------------------------------------------
def ops_page() -> str:
    """Return a page with a table of ops per family."""
    ops = table()
    lines = [_OPS.format(count=len(ops))]
    for name in FAMILIES:
        module = family(name)
        members = OpTable.of(module)
        if not members:
            continue
        head = (module.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        lines += [f"## {name}", "", _cell(head), "", "| op | computes | runs on | limits |", "|---|---|---|---|"]
        lines += [_row(op) for op in members.values()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(op: Op) -> str:
    fact = op_fact(op.name)
    notes = [fact.reason] if fact.reason else []
    if op.lenient:
        notes.append(f"compiled, it also answers {op.lenient}")
    if fixed := fixed_attributes(op):
        notes.append(f"at its default only: {', '.join(f'`{a}`' for a in fixed)}")
    return f"| `{op.name}` | {_cell(op.summary.rstrip('.'))} | {_RUNS[fact.runs]} | {_cell('; '.join(notes))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`").replace("<", "&lt;").replace(">", "&gt;").replace("*", "\\*")


def fixed_attributes(op: Op) -> tuple[str, ...]:
    """Return the attributes that are refused unless they have their default values."""
    sig = signature(op.name)
    told = {n for a in sig.inputs + sig.outputs for n in (a.type_attr, a.number_attr, a.type_list_attr)}
    return tuple(n for n in sig.attrs if n not in told and n not in op.attrs and n not in op.ignores)


# --- limits.md --------------------------------------------------------------------------------------------------
def limits_page() -> str:
    """Return a page that says what does not run, or not compiled, and why."""
    return "\n".join([*_conformance(), *_on_numpy(), *_lenient(), *_numbers(), *_missing()]).rstrip() + "\n"


def _conformance() -> list[str]:
    data: dict[str, Any] = json.loads(CONFORMANCE.read_text())
    lines = [_LIMITS]
    for name, suite in data["suites"].items():
        n, right, numeric, whole = (suite[k] for k in ("graphs", "right", "numeric", "compiled"))
        lines.append(
            f"| {name} | {n} | {right} ({_percent(right, n)}) | {numeric} | {whole} ({_percent(whole, numeric)}) |"
        )
    lines.append(_WRONG)
    reasons = conformance_reasons()
    for name, suite in data["suites"].items():
        for case, verdict in suite["wrong"].items():
            lines.append(f"| {name}: `{case}` | {_cell(verdict)} | {_cell(reason_for(case, reasons))} |")
    lines.append(_LEFT)
    left: collections.Counter[tuple[str, str]] = collections.Counter()
    for suite in data["suites"].values():
        for op, why, count in suite["on_numpy"]:
            left[op, why] += count
    lines += [
        f"| {f'`{op}`' if op else 'V1 control flow'} | {_cell(why)} | {count} |"
        for (op, why), count in sorted(left.items(), key=lambda kv: (-kv[1], kv[0]))
    ]
    return [*lines, ""]


def conformance_reasons() -> dict[str, str]:
    """Return why cases are not right, by pattern of their names."""
    found: dict[str, str] = tomllib.loads(SCOPE.read_text())["conformance"]
    return found


def reason_for(case: str, reasons: Mapping[str, str]) -> str:
    """Return why a case is not right: the text of the first pattern that it matches; KeyError where none does."""
    found = next((why for pattern, why in reasons.items() if fnmatch.fnmatchcase(case, pattern)), None)
    if found is None:
        raise KeyError(f"no reason in {SCOPE.name} for {case}")
    return found


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f}%"


def _on_numpy() -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name in table():
        fact = op_fact(name)
        if fact.runs == "numpy":
            by_reason.setdefault(fact.reason, []).append(name)
    count = sum(map(len, by_reason.values()))
    lines = [
        "## Ops that run on numpy",
        "",
        f"{count} ops are not compiled with ONNX Runtime.",
        "",
        "| reason | ops |",
        "|---|---|",
    ]
    for reason, names in sorted(by_reason.items(), key=lambda kv: (-len(kv[1]), kv[0])):
        lines.append(f"| {_cell(reason)} | {_names(names)} |")
    return [*lines, ""]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in sorted(names))


def _lenient() -> list[str]:
    lines = ["## Where a compiled op answers what TensorFlow refuses", "", "| op | what it answers |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(op.lenient)} |" for name, op in sorted(table().items()) if op.lenient]
    return [*lines, ""]


def _numbers() -> list[str]:
    rows = [f"| {' | '.join(row)} |" for row in _NUMBERS]
    return ["## Where numbers differ from TensorFlow's", "", *rows, ""]


def scope() -> dict[str, tuple[str, list[str]]]:
    """Return the groups of ops that the table lacks: name to reason and ops, all of TensorFlow's registry covered."""
    ops = table()
    groups = tomllib.loads(SCOPE.read_text())["group"]
    out: dict[str, tuple[str, list[str]]] = {g["name"]: (g["reason"], []) for g in groups}
    for name in all_names():
        if name not in ops:
            group = next(g for g in groups if any(fnmatch.fnmatchcase(name, p) for p in g["ops"]))
            out[group["name"]][1].append(name)
    return out


def _missing() -> list[str]:
    groups = scope()
    count = sum(len(names) for _, names in groups.values())
    lines = ["## Ops that are missing", "", f"{count} of the {len(all_names())} ops of TensorFlow's registry.", ""]
    for name, (reason, names) in groups.items():
        if names:
            lines += [f"### {name}", "", f"{reason[0].upper()}{reason[1:]}.", "", _names(names), ""]
    return lines


def main() -> None:
    INDEX.write_text(index())  # what follows is made of the table that it leads to
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)} ({len(text)} bytes)")


if __name__ == "__main__":
    main()
