"""Verifying checkpoints: every problem, not the first.

::

    verify(path) ─► each checkpoint meant ─► its table and tensors      verify_bundle, verify_v1
                 │                        └► .meta, object graph        verify_graph
                 └► a folder: its state file

Nothing is raised for what is wrong with the files: that is what the report is for.
"""

from __future__ import annotations

import os

from coldframe.checkpoint.folder import canonical, find_checkpoints, format_of, found_prefix, is_there, locate
from coldframe.checkpoint.report import Checked, Findings, Problem, VerifyReport, told
from coldframe.checkpoint.verify_bundle import BundleVerifier, Scope
from coldframe.checkpoint.verify_graph import Specs, check_meta_graph, check_object_graph
from coldframe.checkpoint.verify_v1 import V1Verifier
from coldframe.dtypes import DType, from_enum
from coldframe.errors import ColdframeError, CorruptError, NotFoundError, UnsupportedAttributeError
from coldframe.formats.checkpoint_state import STATE_FILE, read_state, resolve
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY, ObjectGraph
from coldframe.formats.stores import LOCAL, Options, Store, place


def verify(
    path: str | os.PathLike[str],
    *,
    only: str | None = None,
    finite: bool = False,
    storage_options: Options | None = None,
) -> VerifyReport:
    """Verify a checkpoint, or all of a folder and its state file, and report every problem.

    Checked are the index (or the V1 file) to its last byte, the CRC of every tensor, the data files' presence and
    sizes, bytes that two tensors claim or none, slices, and whether the ``.meta`` beside it, the object graph inside
    it and the folder's state file agree with it. Tensors are read in chunks: memory does not grow with the checkpoint.

    Args:
        path: a checkpoint's prefix or one of its files; a folder of checkpoints, or a SavedModel's; or a URL.
        only: read the bytes of those tensors alone that this pattern means: a name, a scope, a glob, or ``re:REGEX``.
        finite: whether to look for NaN and infinity too, which are errors then.
        storage_options: what the store of a URL is to be told, such as credentials.

    Raises:
        NotFoundError: there is no such checkpoint, or none has a tensor that `only` means.
        MisuseError: `only` is no regular expression.
        OSError: the system refuses to read.
        StoreError: the store of a URL does not answer.
    """
    store, text = place(path, storage_options)
    scope = Scope.of(only, finite=finite)
    problems: list[Problem] = []
    prefixes = _folder(store, text, problems) if store.is_folder(text) else [locate(text, store)]
    checked = [verify_checkpoint(prefix, scope, problems, store=store) for prefix in prefixes]
    if only is not None and any(c.tensors for c in checked) and not any(c.checked for c in checked):
        raise NotFoundError(f"no tensor matches `{only}`", where=f"in {text}")
    return VerifyReport(text, tuple(checked), tuple(problems))


def verify_checkpoint(
    prefix: str, scope: Scope, problems: list[Problem], *, graphs: bool = True, store: Store = LOCAL
) -> Checked:
    """Verify one checkpoint, and with `graphs` whether its graphs agree; append its problems to `problems`."""
    if format_of(prefix, store) == "V1":
        findings = Findings(prefix)
        v1 = V1Verifier(prefix, scope, findings, store)
        checked = v1.run()
        specs: Specs = {n: (t.dtype, t.shape) for n, t in v1.tensors.items()}
        objects = None
    else:
        findings = Findings(f"{prefix}.index")
        if not store.is_file(findings.file):
            findings.add("error", "index is missing: the save was never completed")
            problems += findings.problems
            return Checked(prefix, "V2", 0, 0, 0)
        v2 = BundleVerifier(prefix, scope, findings, store)
        checked = v2.run()
        specs = {n: (_dtype(e.dtype), e.shape) for n, e in v2.entries.items()}
        objects = _object_graph(v2, findings) if graphs else None
    if objects is not None:
        check_object_graph(objects, specs, findings)
    if graphs and store.is_file(meta := f"{prefix}.meta"):
        check_meta_graph(store, meta, specs, objects.by_full_name if objects else {}, findings)
    problems += findings.problems
    return checked


def _dtype(number: int) -> DType | None:
    try:
        return from_enum(number)
    except UnsupportedAttributeError:
        return None


def _object_graph(v2: BundleVerifier, findings: Findings) -> ObjectGraph | None:
    data = v2.string(OBJECT_GRAPH_KEY) if OBJECT_GRAPH_KEY in v2.entries else None
    if data is None:
        return None
    try:
        return ObjectGraph.parse(data, where="")
    except ColdframeError as e:
        findings.add("error", told(e), tensor=OBJECT_GRAPH_KEY)
        return None


def _folder(store: Store, folder: str, problems: list[Problem]) -> list[str]:
    """Check the state file of a folder; return the prefixes of its checkpoints."""
    found = find_checkpoints(folder, store)
    state = store.join(folder, STATE_FILE)
    if not store.is_file(state):
        if not found:
            return [found_prefix(folder, store)]  # a SavedModel's variables, or the error that says what is missing
        if len(found) > 1:
            problems.append(Problem("note", "no state file says which checkpoint is the latest", state))
        return found
    findings = Findings(state)
    try:
        listed = read_state(state, store)
    except CorruptError as e:
        findings.add("error", told(e))
        problems += findings.problems
        return found
    if not is_there(resolve(listed.latest, folder, store), store):
        findings.add("error", f"the latest checkpoint is not there: `{listed.latest}`")
    if listed.all and listed.latest not in listed.all:
        findings.add("warning", f"the latest checkpoint, `{listed.latest}`, is not among those listed")
    names = {canonical(resolve(p, folder, store)) for p in (listed.latest, *listed.all)}
    for path in listed.all:
        if path != listed.latest and not is_there(resolve(path, folder, store), store):
            findings.add("warning", f"a checkpoint is listed that is not there: `{path}`")
    if listed.timestamps and len(listed.timestamps) != len(listed.all):
        findings.add("warning", f"{len(listed.timestamps)} times are given for {len(listed.all)} checkpoints")
    for prefix in found:
        if canonical(prefix) not in names:
            findings.add("note", f"not listed: `{store.split(prefix)[1]}`")
    if any(os.path.isabs(p) for p in (listed.latest, *listed.all)):
        findings.add("note", "absolute paths: TensorFlow loses the checkpoints when the folder moves")
    problems += findings.problems
    here = {canonical(p) for p in found}
    elsewhere = [
        p for p in (resolve(listed_path, folder, store) for listed_path in listed.all) if canonical(p) not in here
    ]
    return found + [p for p in elsewhere if is_there(p, store)]
