"""Damaged graphs are refused with errors of coldframe's, whatever is wrong with them; none crashes, none hangs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from coldframe.errors import ColdframeError
from coldframe.formats.graph_def import read_graph_def
from coldframe.formats.meta_graph import read_meta_graph
from coldframe.formats.saved_model import read_saved_model
from coldframe.runtime.freezing import freeze
from coldframe.runtime.source import open_source
from fixtures_data import fixture

_GRAPHS = ("saved_model_tf1", "saved_model_tf2", "v2_adam", "frozen_broken_batch_norm", "frozen_functions")


def _load(name: str) -> tuple[Any, Path | None]:
    case = fixture(name)
    if case.kind == "saved_model":
        return read_saved_model(case.path).meta_graph(), case.path / "variables" / "variables"
    if case.meta is not None:
        return read_meta_graph(case.meta), case.path
    return read_graph_def(case.path), None


def _damage(graph: Any, rng: random.Random) -> None:
    bodies = [b for b in (graph.node, *(f.node_def for f in graph.library.function)) if len(b)]
    node, other = rng.choice(rng.choice(bodies)), rng.choice(rng.choice(bodies))
    functions = [f.signature for f in graph.library.function]
    match rng.randrange(9):
        case 0:
            node.op = other.op
        case 1 if node.input:
            del node.input[rng.randrange(len(node.input))]
        case 2 if node.attr:
            del node.attr[rng.choice(sorted(node.attr))]
        case 3 if node.input:
            node.input[rng.randrange(len(node.input))] = other.name
        case 4:
            node.input.append(f"^{other.name}")
        case 5 if node.attr and other.attr:
            node.attr[rng.choice(sorted(node.attr))].CopyFrom(other.attr[rng.choice(sorted(other.attr))])
        case 6 if node.input:
            node.input[0] += ":3"
        case 7 if functions:
            for attr in node.attr.values():
                if attr.HasField("func"):
                    attr.func.name = rng.choice(functions).name
        case _ if functions:
            signature = rng.choice(functions)
            if signature.input_arg:
                del signature.input_arg[0]


@pytest.mark.parametrize("name", _GRAPHS)
def test_damaged_graphs(name: str) -> None:
    rng = random.Random(name)
    whole, checkpoint = _load(name)
    refused = 0
    for _ in range(60):
        message = type(whole)()
        message.CopyFrom(whole)
        for _ in range(rng.randint(1, 3)):
            _damage(message.graph_def if hasattr(message, "graph_def") else message, rng)
        try:
            source = open_source(message, checkpoint=checkpoint)
            signature = rng.choice(sorted(source.signatures)) if source.signatures else None
            assert freeze(source, signature=signature, training=rng.choice([None, False])).graph_def.node
        except ColdframeError:
            refused += 1
    assert refused, "some of this must be noticed"
