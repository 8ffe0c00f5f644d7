"""``coldframe ops``: coverage, of the table, an op and a graph."""

from __future__ import annotations

import json

from cli_harness import Command
from coldframe.graph.signatures import all_names
from coldframe.ops import table


def test_the_whole_table(command: Command) -> None:
    rows = json.loads(command("ops", "--json").out)
    assert [r["name"] for r in rows] == sorted(table())
    assert {r["runs"] for r in rows} == {"compiled", "numpy", "runtime"}
    assert all(r["reason"] for r in rows if r["runs"] == "numpy")
    assert command("ops").out.splitlines()[-1].startswith(f"{len(rows)} ops: ")


def test_an_op(command: Command) -> None:
    said = command("ops", "Softmax")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1:] == [
        "  runs      compiled",
        "  input     logits: T",
        "  output    softmax: T",
        "  attribute T: type of float16, bfloat16, float32, float64",
    ]


def test_an_op_that_takes_more_when_compiled_says_so(command: Command) -> None:
    last = command("ops", "AddN").out.splitlines()[-1]
    assert last.startswith("  compiled, it also answers sizes that do not fit each other")


def test_every_op_of_tensorflow_can_be_described() -> None:
    from coldframe.runtime.inspection.coverage import describe

    for name in all_names():
        assert describe(name).startswith(name)


def test_an_op_that_does_not_exist(command: Command) -> None:
    said = command("ops", "Sofmax")
    assert (said.code, said.out) == (3, "")
    what, hint = said.err.splitlines()
    assert what == "error: TensorFlow has no op called `Sofmax`"
    assert hint.startswith("hint: did you mean `Softmax` or `LogSoftmax`")


def test_a_graph(command: Command) -> None:
    rows = json.loads(command("ops", "--json", "tests/fixtures/frozen_digits/graph.pb").out)
    count = {r["name"]: r["count"] for r in rows}
    assert (count["Conv2D"], count["Placeholder"]) == (2, 1)
    runs = {r["name"]: r["runs"] for r in rows}
    assert (runs["Conv2D"], runs["Placeholder"], runs["Merge"]) == ("compiled", "runtime", "runtime")
