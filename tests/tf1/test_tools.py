"""TensorFlow's tools that programs call: the same files, the same lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow
from tensorflow.python.tools import freeze_graph as theirs
from tensorflow.python.tools import inspect_checkpoint as their_inspector
from tensorflow.python.tools import strip_unused_lib as their_stripper

import coldframe as frozen_models
import coldframe.tf1 as cf
from coldframe.tf1.tools import freeze_graph as ours
from coldframe.tf1.tools import inspect_checkpoint, strip_unused_lib

v1 = tensorflow.compat.v1
X = np.random.RandomState(0).randn(2, 3).astype(np.float32)


@pytest.fixture(scope="module", params=[False, True], ids=["reference", "resource"])
def trained(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A folder with a graph as text and binary, a meta graph and a checkpoint; and what it computes."""
    folder = tmp_path_factory.mktemp("trained")
    with v1.Graph().as_default() as graph, v1.Session() as sess, graph.device("/cpu:0"):
        x = v1.placeholder(v1.float32, [None, 3], name="x")
        w = v1.get_variable("w", [3, 4], use_resource=request.param)
        b = v1.get_variable("b", [4], initializer=v1.ones_initializer(), use_resource=request.param)
        y = v1.nn.relu(v1.matmul(x, w) + b, name="y")
        v1.identity(y * 2.0, name="z")
        sess.run(v1.global_variables_initializer())
        v1.train.Saver().save(sess, str(folder / "model"))
        v1.train.write_graph(graph, str(folder), "graph.pbtxt")
        v1.train.write_graph(graph, str(folder), "graph.pb", as_text=False)
        return str(folder), sess.run(y, {x: X})


HOW: dict[str, dict[str, Any]] = {
    "text": {"input_graph": "graph.pbtxt"},
    "binary": {"input_graph": "graph.pb", "input_binary": True, "clear_devices": True},
    "meta graph": {"input_graph": None, "input_meta_graph": "model.meta", "input_binary": True,
                   "output_node_names": "y, z"},
    "some variables": {"input_graph": "graph.pb", "input_binary": True, "variable_names_whitelist": "w",
                       "initializer_nodes": "init"},
    "all but some": {"input_graph": "graph.pb", "input_binary": True, "variable_names_denylist": "b"},
}  # fmt: skip


def frozen(tool: Any, folder: str, output: str, how: dict[str, Any]) -> Any:
    given = {
        "input_saver": "", "input_binary": False, "input_checkpoint": f"{folder}/model", "output_node_names": "y",
        "restore_op_name": "save/restore_all", "filename_tensor_name": "save/Const:0", "output_graph": output,
        "clear_devices": False, "initializer_nodes": "", **how,
    }  # fmt: skip
    for key in ("input_graph", "input_meta_graph"):
        if given.get(key):
            given[key] = os.path.join(folder, given[key])
    return tool.freeze_graph(**given)


def graph_bytes(folder: str) -> bytes:
    return (Path(folder) / "graph.pb").read_bytes()


@pytest.mark.parametrize("name", HOW)
def test_freezing_a_graph_file(trained: tuple[str, Any], name: str, tmp_path: Path) -> None:
    folder, expected = trained
    path = str(tmp_path / "frozen.pb")
    made = frozen(ours, folder, path, HOW[name])
    resources = any(n.op == "ReadVariableOp" for n in v1.GraphDef.FromString(graph_bytes(folder)).node)
    if not resources:  # TensorFlow's tool cannot freeze those
        wanted = frozen(theirs, folder, "", HOW[name])
        assert {(n.name, n.op, n.device) for n in made.node} == {(n.name, n.op, n.device) for n in wanted.node}
    if name in ("text", "binary", "meta graph"):
        model = frozen_models.load(path)
        np.testing.assert_allclose(model.run({"x:0": X}, ["y:0"])["y:0"], expected, rtol=1e-6)


def test_what_is_missing_is_told(trained: tuple[str, Any]) -> None:
    folder, _ = trained
    for how, kind, says in (
        ({"input_checkpoint": "/none"}, ValueError, "Input checkpoint '/none' doesn't exist!"),
        ({"output_node_names": ""}, ValueError, "You must supply the name of a node"),
        ({"input_graph": "none.pb"}, OSError, "does not exist!"),
        ({"output_node_names": "yy"}, AssertionError, "`y`"),
    ):
        with pytest.raises(kind, match=says):
            frozen(ours, folder, "", {**HOW["text"], **how})


def test_checkpoints_are_printed_alike(trained: tuple[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = trained
    for arguments in (("", False), ("", False, True), ("b", False), ("", True), ("", False, True, "w"), ("no", False)):
        printed = []
        for tool in (inspect_checkpoint, their_inspector):
            tool.print_tensors_in_checkpoint_file(f"{folder}/model", *arguments)
            printed.append(capsys.readouterr().out.split("\n"))
        assert sorted(printed[0]) == sorted(printed[1])


def test_what_is_not_used_is_stripped(trained: tuple[str, Any]) -> None:
    folder, _ = trained
    graph_def = v1.GraphDef()
    graph_def.ParseFromString(graph_bytes(folder))
    mine = strip_unused_lib.strip_unused(
        cf.GraphDef.FromString(graph_def.SerializeToString()), ["x"], ["y"], cf.float32
    )
    wanted = their_stripper.strip_unused(graph_def, ["x"], ["y"], v1.float32.as_datatype_enum)
    assert v1.GraphDef.FromString(mine.SerializeToString()).node == wanted.node
    with pytest.raises(KeyError, match="input nodes were not found"):
        strip_unused_lib.strip_unused(mine, ["no"], ["y"], 1)
