"""Boosted trees: ensembles as resources, and what they predict; the streams that keep boundaries of buckets.

An ensemble belongs to the session under the name of its handle, and never changes: what changes one puts another in its
place. TensorFlow's kernels of these ops are gone since 2.12 at the latest; what they answer is what those of 2.7 did.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.errors import NotInitializedError
from coldframe.ops.known import Attrs, Dims, Known
from coldframe.ops.state import Handle, State
from coldframe.ops.table import op
from coldframe.ops.tree_ensembles import BUCKETS, Buckets, Ensemble, Nodes, debug_output, leaves, paths
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape

Array = npt.NDArray[Any]
_TREES, _STREAMS = "tree ensemble", "quantile streams"
_KEPT: Final = "kept"  # the one entry of these resources
_MOST_STREAMS: Final = 1 << 20
_HINT: Final = "restore a checkpoint or run the graph's initializer before using it"


def _handle(state: State, kind: str, shared_name: str) -> Handle:
    return Handle(shared_name or state.node, kind, dtypes.resource, Shape(()))


def _found(state: State, handle: Any, kind: str) -> Any:
    """Return what a resource holds, or None."""
    if not isinstance(handle, Handle) or handle.kind != kind:
        raise refuse("a handle of something else", expected=kind, found=getattr(handle, "kind", type(handle).__name__))
    return (state.content(handle) or {}).get(_KEPT)


def _kept(state: State, handle: Any, kind: str) -> Any:
    found = _found(state, handle, kind)
    if found is None:
        raise NotInitializedError(f"{kind} `{handle.name}` is not initialized", hint=_HINT)
    return found


def _of(state: State, handle: Any) -> Ensemble:
    return _kept(state, handle, _TREES)  # type: ignore[no-any-return]


# --- ensembles --------------------------------------------------------------------------------------------------
@op("BoostedTreesEnsembleResourceHandleOp", shape="-> []", stateful=True, ignores=("container",))
def boosted_trees_ensemble_resource_handle_op(xp: Any, state: State, *, shared_name: str) -> Any:
    """An ensemble of trees."""
    return _handle(state, _TREES, shared_name)


@op("IsBoostedTreesEnsembleInitialized", shape="-> []", stateful=True)
def is_boosted_trees_ensemble_initialized(xp: Any, state: State, handle: Any) -> Any:
    """Whether the ensemble is there, be it of no trees."""
    return np.bool_(_found(state, handle, _TREES) is not None)


@op("BoostedTreesCreateEnsemble", stateful=True, effect=True)
def boosted_trees_create_ensemble(
    xp: Any, state: State, handle: Any, stamp_token: Any, tree_ensemble_serialized: Any
) -> None:
    """Make an ensemble of the bytes of a TreeEnsemble, where there is none yet."""
    made = Ensemble.parse(np.asarray(tree_ensemble_serialized).item(), int(stamp_token))
    if _found(state, handle, _TREES) is None:
        state.resource(handle)[_KEPT] = made


@op("BoostedTreesDeserializeEnsemble", stateful=True, effect=True, role="refill_trees")
def boosted_trees_deserialize_ensemble(
    xp: Any, state: State, handle: Any, stamp_token: Any, tree_ensemble_serialized: Any
) -> None:
    """Put the ensemble that bytes of a TreeEnsemble describe in the place of one."""
    _of(state, handle)
    made = Ensemble.parse(np.asarray(tree_ensemble_serialized).item(), int(stamp_token))
    state.resource(handle)[_KEPT] = made


@op("BoostedTreesSerializeEnsemble", shape="-> [] []", stateful=True)
def boosted_trees_serialize_ensemble(xp: Any, state: State, handle: Any) -> Any:
    """The stamp of the ensemble, int64, and the bytes of its TreeEnsemble."""
    found = _of(state, handle)
    return np.int64(found.stamp), np.array(found.serialized(), object)


@op("BoostedTreesGetEnsembleStates", shape="-> [] [] [] [] [2]", stateful=True)
def boosted_trees_get_ensemble_states(xp: Any, state: State, handle: Any) -> Any:
    """The stamp; how many trees, finished trees and attempted layers; the nodes of the last layer: first, and end."""
    found = _of(state, handle)
    told, grown = found.message.tree_metadata, found.message.growing_metadata
    count = len(found.message.trees)
    if len(told) < count:
        raise refuse("the number of tree metadata", expected=count, found=len(told))
    finished = count if not count or told[count - 1].is_finalized else count - 1
    layers = np.int64(grown.num_layers_attempted).astype(np.int32)
    nodes = np.array([grown.last_layer_node_start, max(1, grown.last_layer_node_end)], np.int32)
    return np.int64(found.stamp), np.int32(count), np.int32(finished), layers, nodes


# --- predicting -------------------------------------------------------------------------------------------------
def _logits(a: Attrs, handle: Known, features: list[Known]) -> Dims:
    """Of each example the logits."""
    return (features[0].dims[0] if features and features[0].dims else None, a["logits_dimension"])


def _sums(nodes: Nodes, at: Array, width: int) -> Array:
    """The weighted values of the leaves at [examples, trees], added up tree by tree: [examples, width]."""
    return np.add.accumulate(nodes.weights[:, None] * nodes.of(at, width), 1)[:, -1]


@op("BoostedTreesPredict", shape=_logits, stateful=True)
def boosted_trees_predict(
    xp: Any, state: State, handle: Any, bucketized_features: list[Array], *, logits_dimension: int
) -> Any:
    """The sum of the trees' weighted leaves for each example, float32 [examples, logits_dimension]."""
    found, given = _of(state, handle), Buckets.of(bucketized_features)
    if not found.message.trees or not len(given.table):
        return np.zeros((len(given.table), logits_dimension), np.float32)
    nodes = found.nodes
    parts = given.parts(len(nodes.roots) * max(logits_dimension, 1))
    return np.concatenate([_sums(nodes, leaves(nodes, part), logits_dimension) for part in parts])


@op("BoostedTreesExampleDebugOutputs", shape="-> [?]", stateful=True)
def boosted_trees_example_debug_outputs(
    xp: Any, state: State, handle: Any, bucketized_features: list[Array], *, logits_dimension: int
) -> Any:
    """Of each example the bytes of a DebugOutput: the features it was split by, the logits after each, the leaves."""
    if logits_dimension != 1:
        raise refuse("the number of logits", expected=1, found=logits_dimension)
    found, given = _of(state, handle), Buckets.of(bucketized_features)
    if not found.message.trees:
        raise refuse("the number of trees", expected="1 or more", found=0)
    out = [_explained(found.nodes, part.part(k, k + 1)) for part in given.parts(1) for k in range(len(part.table))]
    made = np.empty(len(out), object)
    made[:] = out
    return made


def _explained(nodes: Nodes, example: Buckets) -> bytes:
    """Return the DebugOutput of one example; it begins with the root of the first tree.

    As TensorFlow has it, later trees that are one leaf count for nothing, and categorical splits are by feature 0.
    """
    way = np.concatenate(list(paths(nodes, example)), 0)
    features: list[int] = []
    before, last = np.float32(0), nodes.weights[0] * nodes.of(nodes.roots[0], 1)[0]
    logits = [last]
    for t, weight in enumerate(nodes.weights):
        for here, below in zip(way[:-1, t], way[1:, t], strict=True):
            if here != below:
                features.append(int(nodes.feature[here]) if nodes.kind[here] == BUCKETS else 0)
                last = weight * nodes.of(below, 1)[0]
                logits.append(before + last)
        before, last = before + last, np.float32(0)
    return debug_output(features, [float(x) for x in logits], (way[-1] - nodes.roots).tolist())


# --- boundaries of buckets --------------------------------------------------------------------------------------
@op("BoostedTreesQuantileStreamResourceHandleOp", shape="-> []", stateful=True, ignores=("container",))
def boosted_trees_quantile_stream_resource_handle_op(xp: Any, state: State, *, shared_name: str) -> Any:
    """Streams of features, whose quantiles are the boundaries of buckets."""
    return _handle(state, _STREAMS, shared_name)


@op("IsBoostedTreesQuantileStreamResourceInitialized", shape="-> []", stateful=True)
def is_boosted_trees_quantile_stream_resource_initialized(xp: Any, state: State, handle: Any) -> Any:
    """Whether the streams are there."""
    return np.bool_(_found(state, handle, _STREAMS) is not None)


@op("BoostedTreesCreateQuantileStreamResource", stateful=True, effect=True, ignores=("max_elements",))
def boosted_trees_create_quantile_stream_resource(
    xp: Any, state: State, handle: Any, epsilon: Any, num_streams: Any
) -> None:
    """Make streams without boundaries, where there are none yet."""
    if not 0 < float(epsilon) < 1:
        raise refuse("`epsilon`", expected="above 0, below 1", found=float(epsilon))
    if not 0 <= int(num_streams) <= _MOST_STREAMS:
        raise refuse("`num_streams`", expected=f"0 to {_MOST_STREAMS}", found=int(num_streams))
    if _found(state, handle, _STREAMS) is None:
        state.resource(handle)[_KEPT] = (np.zeros(0, np.float32),) * int(num_streams)


@op("BoostedTreesQuantileStreamResourceDeserialize", stateful=True, effect=True, role="refill_streams")
def boosted_trees_quantile_stream_resource_deserialize(
    xp: Any, state: State, handle: Any, bucket_boundaries: list[Array]
) -> None:
    """Give the first streams boundaries."""
    old = _kept(state, handle, _STREAMS)
    if len(bucket_boundaries) > len(old):
        raise refuse("the number of streams", expected=f"at most {len(old)}", found=len(bucket_boundaries))
    if any(b.ndim != 1 for b in bucket_boundaries):
        found = [b.ndim for b in bucket_boundaries]
        raise refuse("boundaries of buckets are vectors", found=f"ranks {found}")
    fresh = tuple(np.array(b, np.float32) for b in bucket_boundaries)
    state.resource(handle)[_KEPT] = (*fresh, *old[len(fresh) :])


@op("BoostedTreesQuantileStreamResourceGetBucketBoundaries", shape="-> [?]", stateful=True)
def boosted_trees_quantile_stream_resource_get_bucket_boundaries(
    xp: Any, state: State, handle: Any, *, num_features: int
) -> Any:
    """The boundaries of each stream, float32."""
    kept = _kept(state, handle, _STREAMS)
    if len(kept) != num_features:
        raise refuse("the number of streams", expected=num_features, found=len(kept))
    return list(kept)
