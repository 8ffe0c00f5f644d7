from __future__ import annotations

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import fixtures_data
from coldframe.checkpoint import open_checkpoint
from coldframe.errors import CorruptError, NotFoundError
from coldframe.formats import messages
from coldframe.formats import object_graph as og
from coldframe.formats.object_graph import ObjectGraph


@given(st.text(st.sampled_from("a./S_")))
def test_escapes_return(name):
    assert og.unescape(og.escape(name)) == name
    assert "/" not in og.escape(name)


def test_the_escapes_of_tensorflow():
    assert og.escape("a/b.c") == "a.Sb..c"
    assert og.variable_key("w") == "w/.ATTRIBUTES/VARIABLE_VALUE"
    assert og.slot_key("model/w", "opt", "m") == "model/w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root, child = tf.Module(), tf.Module()
    root.child, child.back = child, root  # a cycle
    child.w = tf.Variable([1.0, 2.0], name="scope/weights")
    root.table = {"a/b.c": tf.Variable(3.0, name="odd")}
    path = tf.train.Checkpoint(root=root).save(str(tmp_path_factory.mktemp("objects") / "m"))
    return open_checkpoint(path)


def test_names_go_both_ways(saved):
    graph = saved.object_graph
    key = "child/w/.ATTRIBUTES/VARIABLE_VALUE"
    assert graph.key_of("scope/weights") == key
    assert saved.by_full_name["scope/weights"] == key
    assert graph.full_names[key] == "scope/weights"
    assert graph.by_path["child/w"] == key
    assert graph.object_paths[key] == "child/w"
    assert saved[graph.key_of("odd")] == 3.0
    assert "table/a.Sb..c" in graph.by_path
    with pytest.raises(NotFoundError, match=r"no variable is called `weight` in .*\nhint: did you mean"):
        graph.key_of("weight")
    with pytest.raises(NotFoundError, match=r"`scope/weigth` .*\nhint: did you mean `scope/weights`\?"):
        graph.key_of("scope/weigth")


@pytest.mark.parametrize("f", fixtures_data.fixtures(kind="checkpoint", format="object"), ids=str)
def test_golden_files(f):
    ckpt = open_checkpoint(f.path)
    graph = ckpt.object_graph
    assert set(graph.object_paths) >= set(ckpt) - {og.OBJECT_GRAPH_KEY}
    for slot in graph.slots:
        if slot.key:
            assert slot.key == og.slot_key(slot.variable, slot.optimizer, slot.slot_name)
            assert slot.key in ckpt
    if f.name == "object_slots":
        assert {s.slot_name for s in graph.slots} >= {"m", "v"}


def test_damage_is_named():
    graph = messages.TrackableObjectGraph()
    graph.nodes.add().children.add(node_id=5, local_name="x")
    with pytest.raises(CorruptError, match="object graph refers to no node at node 0 in c: expected below 1, found 5"):
        ObjectGraph.parse(graph.SerializeToString(), where="in c")
    with pytest.raises(CorruptError, match=r"damaged tensorflow.TrackableObjectGraph in c"):
        ObjectGraph.parse(b"\x0a\xff", where="in c")


def test_paths_do_not_outgrow_memory():
    graph = messages.TrackableObjectGraph()
    for i in range(30_000):
        graph.nodes.add().children.add(node_id=min(i + 1, 29_999), local_name="child")
    with pytest.raises(CorruptError, match="object paths expand beyond measure in c"):
        _ = ObjectGraph(graph, where="in c").paths
