"""Run TensorFlow 1 programs with ``coldframe exec``, each in its own folder, and tell what became of them.

    python tools/run_programs.py FOLDER_OR_FILE ... [--timeout 60] [--out results.jsonl]

Of a folder, the ``.py`` files are run that import TensorFlow, and that do something when they are run: call functions,
or have a ``__main__`` part. A program that still runs when its time is up counts as running ("time up"). The report
lists the names that coldframe misses, most wanted first. Nothing is downloaded, windows of matplotlib stay closed.
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

IMPORTS = re.compile(r"^\s*(import|from)\s+tensorflow\b", re.MULTILINE)
MISSING = re.compile(r"coldframe has no `([^`]+)`")
ERROR = re.compile(r"^(?:[\w.]+(?:Error|Exception|Exit|Warning|Symbol|Module|Interrupt)\b.*|error: .*)$")


@dataclass(frozen=True)
class Outcome:
    """What became of a program: `kind` is ``done``, ``time up`` or ``failed``."""

    program: str
    kind: str
    seconds: float
    error: str
    missing: str
    tail: str


def programs(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files given, and of folders those that import TensorFlow and run something."""
    for path in paths:
        if path.is_file():
            yield path
        else:
            yield from (p for p in sorted(path.rglob("*.py")) if IMPORTS.search(_text(p)) and _acts(p))


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


def _acts(path: Path) -> bool:
    text = _text(path)
    if "__main__" in text:
        return True
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return True  # to be told by running it
    return any(isinstance(s, (ast.With, ast.For, ast.While, ast.Expr)) and not _is_text(s) for s in body)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def run(path: Path, args: list[str], timeout: float) -> Outcome:
    """Run one program."""
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "coldframe", "exec", path.name, *args],
        cwd=path.parent, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    late = False
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    lines = output.decode(errors="replace").splitlines()
    missing = [m for line in lines[-6:] for m in MISSING.findall(line)]  # of a child process too
    kind = "failed" if (process.returncode and not late) or missing else "time up" if late else "done"
    error = next((line for line in reversed(lines) if ERROR.match(line)), f"exit code {process.returncode}")
    return Outcome(
        str(path), kind, round(time.monotonic() - start, 1), error if kind == "failed" else "",
        missing[0] if missing and kind == "failed" else "", "\n".join(lines[-12:]),
    )  # fmt: skip


def report(outcomes: list[Outcome]) -> str:
    """Return the numbers, the errors, and the missing names by how many programs want them."""
    kinds = collections.Counter(o.kind for o in outcomes)
    lines = [f"{len(outcomes)} programs: " + ", ".join(f"{n} {k}" for k, n in kinds.most_common())]
    wanted = collections.Counter(o.missing for o in outcomes if o.missing)
    lines += [f"  {n:3} want {name}" for name, n in wanted.most_common()]
    other = collections.Counter(o.error for o in outcomes if o.kind == "failed" and not o.missing)
    lines += [f"  {n:3} {error}" for error, n in other.most_common()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--timeout", type=float, default=60, help="seconds for each program")
    parser.add_argument("--match", default="", help="a regular expression that paths must have")
    parser.add_argument("--out", type=Path, help="write the outcomes here, a line of JSON each")
    args = parser.parse_args()
    outcomes = []
    for path in programs(args.paths):
        if not re.search(args.match, str(path)):
            continue
        outcome = run(path.resolve(), [], args.timeout)
        outcomes.append(outcome)
        print(f"{outcome.kind:8} {outcome.seconds:6.1f} s  {path}  {outcome.error}", flush=True)
        if args.out:
            with args.out.open("a") as out:
                out.write(json.dumps(asdict(outcome)) + "\n")
    print(report(outcomes))


if __name__ == "__main__":
    main()
