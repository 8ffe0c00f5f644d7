"""The generated pages about ops are those of the table, and every op that is missing has a reason."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coldframe.graph.signatures import all_names
from coldframe.ops import table
from shared_data import reference_path

ROOT = Path(__file__).parents[1]
# Ops of deployed graphs that are no op of TensorFlow's registry: other packages', or somebody's tests.
FOREIGN = {
    "DescrptSeA", "ProdForceSeA", "ProdVirialSeA", "NormalizeUTF8", "SimpleMLCreateModelResource",
    "SimpleMLInferenceOpWithHandle", "SimpleMLLoadModelFromPathWithHandle", "SomeUnknownOp", "foo", "bar",
    "Dropout",
}  # fmt: skip


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("op_docs", ROOT / "tools" / "op_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ops.md", "limits.md"])
def test_pages_are_up_to_date(docs: Any, name: str) -> None:
    path = ROOT / "docs" / name
    assert path.read_text() == docs.pages()[path], "stale: run `python tools/op_docs.py`"


def test_every_missing_op_has_one_reason(docs: Any) -> None:
    groups = docs.scope()
    listed = [name for _, names in groups.values() for name in names]
    assert sorted(listed) == sorted(set(all_names()) - set(table()))
    assert all(names for _, names in groups.values()), "a group without ops has become pointless"


def test_every_wrong_case_has_a_reason(docs: Any) -> None:
    data = json.loads(docs.CONFORMANCE.read_text())
    reasons = docs.conformance_reasons()
    used = {docs.reason_for(case, reasons) for suite in data["suites"].values() for case in suite["wrong"]}
    assert used == set(reasons.values()), "a reason without cases has become pointless"
    with pytest.raises(KeyError):
        docs.reason_for("another", reasons)


def test_fixed_attributes_are_those_that_bodies_do_not_take(docs: Any) -> None:
    assert docs.fixed_attributes(table()["MatMul"]) == ()
    assert docs.fixed_attributes(table()["AudioSpectrogram"]) == ()


def test_ops_of_deployed_graphs_are_here_or_out_of_scope(docs: Any) -> None:
    text = reference_path("op-usage.md").read_text()
    used = {op: int(n) for op, n in re.findall(r"(\w+) (\d+)/\d+", text)}
    wanted = set(docs.scope()["Wanted"][1])
    assert {op for op, n in used.items() if n and op in wanted} == set()
    assert {op for op in used if op not in all_names()} <= FOREIGN


def test_the_index_of_the_table_is_up_to_date(docs: Any) -> None:
    assert docs.INDEX.read_text() == docs.index(), "stale: run `python tools/op_docs.py`"


def test_a_family_is_loaded_when_an_op_of_it_is_asked_for() -> None:
    code = """
import subprocess
import sys
from coldframe.errors import UnsupportedOpError
from coldframe.ops import table
ops = table()
assert "Relu" in ops and len(ops) > 900 and ops.get("Rilu") is None
assert not any(m.endswith((".activation", ".datasets")) for m in sys.modules)
assert ops["Relu"] is ops["Relu"] and ops.named_role("identity").name == "Identity"
assert "coldframe.ops.activation" in sys.modules and "coldframe.ops.datasets" not in sys.modules
try:
    ops["Rilu"]
except UnsupportedOpError as e:
    assert "Relu" in e.hint
"""
    subprocess.run([sys.executable, "-c", code], check=True)
