"""``coldframe inspect`` on every kind of file, and what it says of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import coldframe as cf
from cli_harness import DIGITS, Command, expect_text
from coldframe import dtypes
from coldframe.formats import messages
from coldframe.graph.convert import to_graph_def
from fixtures_data import ROOT as FIXTURES
from fixtures_data import Fixture, fixtures
from graph_builder import graph, node, placeholder

TEXTS = {
    "inspect_checkpoint": f"{DIGITS}/model.ckpt-460",
    "inspect_folder": DIGITS,
    "inspect_meta": f"{DIGITS}/model.ckpt-460.meta",
    "inspect_objects": "tests/fixtures/object_slots/ckpt-2",
    "inspect_keras": "tests/fixtures/object_keras/keras.ckpt",
    "inspect_v1": "tests/fixtures/v1_sharded/model.ckpt",
    "inspect_saved_model": "tests/fixtures/saved_model_tf2/model",
    "inspect_frozen": "tests/fixtures/frozen_digits/graph.pb",
    "inspect_array": f"{DIGITS}/test.npz",
}


@pytest.mark.parametrize("name", TEXTS)
def test_says_what_it_said(name: str, command: Command) -> None:
    said = command("inspect", TEXTS[name])
    assert (said.code, said.err) == (0, "")
    expect_text(name, _without_coverage(said.out))


def _without_coverage(text: str) -> str:
    """Leave out what changes whenever the op table grows."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(("  unsupported", "note: coldframe ")))


def test_tells_of_attributes_that_are_passed_over(tmp_path: Path, command: Command) -> None:
    relus = [node(f"{name} = Relu(x)", T=dtypes.float32, brand_new=True, _mine=1) for name in "ab"]
    data = messages.serialize(to_graph_def(graph([placeholder("x"), *relus])), where="in a test")
    path = tmp_path / "new.pb"
    path.write_bytes(data)
    assert (
        "note: passed over, as TensorFlow does: attributes that the ops lack: Relu.brand_new\n"
        in command("inspect", str(path)).out
    )
    (facts,) = json.loads(command("inspect", "--json", str(path)).out)["graphs"]
    assert facts["unknown_attributes"] == {"Relu.brand_new": 2}


@pytest.mark.parametrize("fixture", fixtures("checkpoint"), ids=repr)
def test_lists_every_tensor(fixture: Fixture, command: Command) -> None:
    facts = fixture.tensors()
    report = json.loads(command("inspect", "--json", fixture.path).out)
    listed = {t["spec"]["name"]: t["spec"] for t in report["checkpoint"]["tensors"]}
    assert listed.keys() == facts.keys()
    for name, fact in facts.items():
        assert (listed[name]["dtype"], listed[name]["shape"]) == (fact.dtype, list(fact.shape))
    said = command("inspect", "--all", fixture.path).out
    assert all(name in said for name in facts)


@pytest.mark.parametrize("fixture", [*fixtures("graph"), *fixtures("saved_model")], ids=repr)
def test_reads_every_graph(fixture: Fixture, command: Command) -> None:
    said = command("inspect", "--json", fixture.path)
    assert (said.code, said.err) == (0, "")
    (graph,) = json.loads(said.out)["graphs"]
    assert sum(graph["ops"].values()) >= graph["nodes"] > 0
    assert graph["unsupported"].keys() <= graph["ops"].keys()


@pytest.mark.parametrize("fixture", [f for f in fixtures("graph") if f.outputs], ids=repr)
def test_guesses_the_outputs_a_graph_was_frozen_for(fixture: Fixture) -> None:
    """A guess may name more than was asked for, never less."""
    (graph,) = cf.inspect(fixture.path).graphs
    guessed = {e.spec.name.partition(":")[0] for e in graph.outputs}
    assert guessed >= set(fixture.outputs)
    assert all(e.reason for e in graph.outputs)


def test_slots_and_the_step_are_recognised() -> None:
    fact = cf.inspect(f"{Path(__file__).parents[2] / DIGITS}/model.ckpt-460").checkpoint
    assert fact is not None
    assert fact.global_step == 460
    roles = {t.spec.name: (t.role.value, t.of) for t in fact.tensors}
    assert roles["dense/kernel"] == ("variable", "")
    assert roles["dense/kernel/Adam_1"] == ("optimizer slot", "dense/kernel")
    assert roles["beta1_power"] == ("optimizer slot", "")
    assert roles["global_step"] == ("global step", "")


def test_a_name_like_a_slot_without_its_variable_is_a_variable(tmp_path: Path) -> None:
    path = cf.save_checkpoint(
        tmp_path / "x", {"tower/Adam": np.zeros(3), "w": np.ones(2), "scope/w/Momentum": np.ones(2)}
    )
    fact = cf.inspect(path).checkpoint
    assert fact is not None
    assert {t.spec.name: t.role.value for t in fact.tensors} == {
        "scope/w/Momentum": "optimizer slot",
        "tower/Adam": "variable",
        "w": "variable",
    }


def test_a_shard_that_is_missing_is_named(tmp_path: Path, command: Command) -> None:
    path = cf.save_checkpoint(tmp_path / "x", {"global_step": np.int64(7), "w": np.ones(2)}, shards=2)
    lost = tmp_path / "x.data-00001-of-00002"
    lost.unlink()
    said = command("inspect", path)
    assert said.code == 0
    assert "(1 missing)" in said.out
    assert f"note: missing: {lost}; its tensors cannot be read" in said.out
    assert "global step " not in said.out.split("tensor ")[0]


def test_a_state_file_that_lists_what_is_gone(tmp_path: Path, command: Command) -> None:
    for step in (1, 2, 3):
        cf.save_checkpoint(tmp_path / "m", {"global_step": np.int64(step)}, global_step=step)
    (tmp_path / "m-3.index").unlink()
    said = command("inspect", tmp_path)
    assert said.code == 0
    assert "note: the latest checkpoint, m-3, is gone" in said.out
    assert "global step  2" in said.out
    state = json.loads(command("inspect", "--json", tmp_path).out)["state"]
    assert [(c["listed"], c["exists"]) for c in state["all"]] == [("m-1", True), ("m-2", True), ("m-3", False)]


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", 0, "a Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", 0, "a web page"),
        (b"", 0, "an empty file"),
        (b"\x00\x01\x02nonsense", 0, "of no known kind"),
    ],
)
def test_what_is_no_tensorflow_file_is_named(
    content: bytes, code: int, text: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "x.pb").write_bytes(content)
    said = command("inspect", tmp_path / "x.pb")
    assert said.code == code
    assert said.out.startswith(f"{tmp_path / 'x.pb'}: {text}")


def test_exit_code_of_a_missing_file(command: Command) -> None:
    said = command("inspect", f"{DIGITS}/model.ckpt-461")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"error: no file `{DIGITS}/model.ckpt-461`\nhint: did you mean")


def test_exit_code_of_a_corrupt_file(tmp_path: Path, command: Command) -> None:
    data = bytearray((FIXTURES / "v2_adam" / "model.ckpt-3.index").read_bytes())
    data[20] ^= 0xFF
    (tmp_path / "x.index").write_bytes(data)
    said = command("inspect", tmp_path / "x")
    assert (said.code, said.out) == (4, "")
    assert said.err.startswith("error: ")


def test_wrong_usage(command: Command) -> None:
    assert command("inspect").code == 2
    assert command("nonsense").code == 2
    assert command("--help").code == 0
    assert command("--version").out == f"coldframe {cf.__version__}\n"


def test_names_cannot_steer_the_terminal(tmp_path: Path, command: Command) -> None:
    path = cf.save_checkpoint(tmp_path / "x", {"a\x1b[31mb": np.zeros(1), "\udcff": np.zeros(1)})
    said = command("inspect", path)
    assert said.code == 0
    assert "  a\\x1b[31mb" in said.out
    assert "\\udcff" in said.out
    assert "\x1b" not in said.out
    said = command("inspect", "no\x1bsuch")
    assert (said.code, said.err) == (1, "error: no file `no\\x1bsuch`\n")
