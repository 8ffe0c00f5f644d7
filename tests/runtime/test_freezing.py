"""Frozen graphs, held against TensorFlow: it imports what coldframe wrote and gives the answers it gave before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fixtures_data import Fixture, fixtures
from frozen_oracle import assert_same, run_in_tensorflow

from coldframe.runtime.freezing import FrozenGraph, freeze


def _check(frozen: FrozenGraph, path: Path, feeds: dict[str, Any], expected: dict[str, Any]) -> None:
    frozen.save(path)
    assert_same(run_in_tensorflow(path, feeds, list(expected), frozen.init_ops), expected)


@pytest.mark.parametrize("fixture", fixtures(kind="saved_model"), ids=repr)
def test_a_saved_model_frozen_by_signature(fixture: Fixture, tmp_path: Path) -> None:
    for i, run in enumerate(fixture.runs()):
        frozen = freeze(fixture.path, signature=run.signature)
        assert not any(n.op.startswith(("Var", "ReadVar", "Partitioned", "Stateful")) for n in frozen.graph)
        feeds = {frozen.inputs[k].name: v for k, v in run.feeds.items()}
        expected = {frozen.outputs[k].name: v for k, v in run.expected.items()}
        _check(frozen, tmp_path / f"{i}.pb", feeds, expected)


@pytest.mark.parametrize("fixture", [f for f in fixtures(kind="checkpoint") if f.meta], ids=repr)
def test_a_meta_graph_with_its_checkpoint(fixture: Fixture, tmp_path: Path) -> None:
    assert fixture.meta is not None
    for i, run in enumerate(fixture.runs()):
        frozen = freeze(fixture.meta, outputs=list(run.expected))
        _check(frozen, tmp_path / f"{i}.pb", dict(run.feeds), dict(run.expected))


@pytest.mark.parametrize("fixture", fixtures(kind="graph"), ids=repr)
def test_a_frozen_graph_frozen_again(fixture: Fixture, tmp_path: Path) -> None:
    frozen = freeze(fixture.path, outputs=fixture.outputs)
    for i, run in enumerate(fixture.runs()):
        _check(frozen, tmp_path / f"{i}.pb", dict(run.feeds), dict(run.expected))
