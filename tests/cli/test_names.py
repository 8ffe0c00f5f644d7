"""``coldframe names``: what people need to feed, fetch and freeze by name."""

from __future__ import annotations

import json

import pytest

from cli_harness import DIGITS, Command, expect_text

META = f"{DIGITS}/model.ckpt-460.meta"
FROZEN = "tests/fixtures/frozen_digits/graph.pb"


def test_says_what_it_said(command: Command) -> None:
    said = command("names", FROZEN)
    assert (said.code, said.err) == (0, "")
    expect_text("names_frozen", said.out)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (["probabilities"], ["probabilities:0"]),
        (["dense/k*l/read"], ["dense/kernel/read:0"]),
        (["dense/kernel/?ead:0"], ["dense/kernel/read:0"]),
        (["-r", "^(image|label):"], ["image:0", "label:0"]),
        (["image"], ["image:0"]),
    ],
)
def test_patterns(pattern: list[str], names: list[str], command: Command) -> None:
    rows = json.loads(command("names", META, "--json", *pattern).out)
    assert [r["name"] for r in rows] == names


def test_a_row(command: Command) -> None:
    (row,) = json.loads(command("names", META, "probabilities", "--json").out)
    assert row == {
        "name": "probabilities:0",
        "dtype": "float32",
        "shape": "[?, 10]",
        "op": "Softmax",
        "sources": ["logits:0"],
        "mark": "output",
    }


def test_marks(command: Command) -> None:
    marks = {r["name"]: r["mark"] for r in json.loads(command("names", META, "--json").out)}
    assert [n for n, m in marks.items() if m == "input"] == ["image:0", "label:0", "is_training:0", "dropout_rate:0"]
    assert [n for n, m in marks.items() if m == "output"] == ["probabilities:0"]
    assert marks["dense/kernel:0"] == "variable"


def test_nothing_matches(command: Command) -> None:
    said = command("names", META, "probabilites")
    assert (said.code, said.out) == (1, "")
    assert said.err == (f"error: no tensor matches `probabilites` in {META}\nhint: did you mean `probabilities`?\n")


def test_no_regular_expression(command: Command) -> None:
    said = command("names", META, "-r", "(")
    assert said.code == 1
    assert said.err.startswith("error: `(` is no regular expression: found missing )")


def test_a_checkpoint_has_no_graph(command: Command) -> None:
    said = command("names", f"{DIGITS}/model.ckpt-460")
    assert said.code == 1
    assert f"it is in `{META}`" in said.err
