"""Which checkpoints lie in a folder, by their files: whether or not a state file lists them, whole or not."""

from __future__ import annotations

import os
import re
from typing import Final

from coldframe.checkpoint.reader import find_prefix
from coldframe.checkpoint.remote import find_remote
from coldframe.errors import NotFoundError
from coldframe.formats.bundle_commit import TEMPORARY
from coldframe.formats.checkpoint_state import STATE_FILE
from coldframe.formats.sstable import FOOTER_SIZE, MAGIC
from coldframe.formats.stores import LOCAL, Store
from coldframe.formats.v1 import v1_names

_DATA: Final = re.compile(r"\.data-\d{5}-of-\d{5}$")
_FILE: Final = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_V1_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}$")
_PATTERN: Final = re.compile(r"-\?{5}-of-\d{5}$")
_NUMBERS: Final = re.compile(r"(\d+)")


def find_checkpoints(folder: str | os.PathLike[str], store: Store = LOCAL) -> list[str]:
    """Return the prefixes of all checkpoints of a folder, V2 and V1, complete or not, in the order of their steps.

    Raises:
        OSError: the folder cannot be read.
    """
    found: set[str] = set()
    here = os.fspath(folder)
    files = set(store.names(here))
    for name in files:
        if ".tempstate" in name or TEMPORARY.search(name):
            continue
        if name.endswith(".index"):
            found.add(name.removesuffix(".index"))
        elif _DATA.search(name):
            found.add(_DATA.sub("", name))
        elif f"{_V1_SHARD.sub('', name)}.meta" in files or _is_table(store, store.join(here, name)):
            found.add(_V1_SHARD.sub("", name))
    return [store.join(here, name) for name in sorted(found, key=by_number)]


def locate(path: str | os.PathLike[str], store: Store = LOCAL) -> str:
    """Return the prefix of the checkpoint that `path` means, as `open_checkpoint` finds it, or what is left of one.

    Raises:
        NotFoundError: there is none.
        WrongFileError: the folder holds several, and no state file says which is the latest.
    """
    text = os.fspath(path)
    stem = _FILE.sub("", text)
    folder, name = store.split(stem)
    if name == STATE_FILE or (store is LOCAL and (os.path.isdir(text) or not os.path.isdir(folder or "."))):
        return found_prefix(text, store)
    left = any(_DATA.sub("", n) == name for n in store.names(folder) if _DATA.search(n))
    if left or store.is_file(f"{stem}.index") or (stem == text and v1_names(stem, store, missing_ok=True)):
        return stem
    return found_prefix(text, store)


def found_prefix(path: str, store: Store = LOCAL) -> str:
    """Return the prefix of the checkpoint that `path` means; raises as `open_checkpoint`."""
    return find_prefix(path) if store is LOCAL else find_remote(store, path)


def by_number(name: str) -> list[str | int]:
    """Return a key that sorts ``ckpt-10`` behind ``ckpt-9``."""
    return [int(part) if part.isdecimal() else part for part in _NUMBERS.split(name)]


def canonical(prefix: str) -> str:
    """Return the one prefix that a checkpoint has: TensorFlow lists a sharded V1 one as ``m-?????-of-00002``."""
    stem = _PATTERN.sub("", prefix)
    return stem if "://" in stem else os.path.abspath(stem)


def step_of(prefix: str) -> int | None:
    """Return the step that a prefix ends with, as ``model.ckpt-1000`` does."""
    match = re.search(r"-(\d+)$", os.path.basename(prefix))
    return int(match[1]) if match else None


def is_there(prefix: str, store: Store = LOCAL) -> bool:
    """Whether a checkpoint is called `prefix`, or what is left of a sharded V1 one."""
    return store.is_file(f"{prefix}.index") or bool(v1_names(prefix, store, missing_ok=True))


def format_of(prefix: str, store: Store = LOCAL) -> str:
    """Return the format of the checkpoint at `prefix`, by its files: ``V2`` or ``V1``."""
    if store.is_file(f"{prefix}.index"):
        return "V2"
    return "V1" if v1_names(prefix, store, missing_ok=True) else "V2"


def _is_table(store: Store, path: str) -> bool:
    """Whether a file ends as a sorted table does, and so is a V1 checkpoint or a shard of one."""
    try:
        file = store.open(path)
    except (NotFoundError, OSError):  # gone meanwhile, or not ours to read
        return False
    try:
        return file.size >= FOOTER_SIZE and int.from_bytes(file.read(file.size - 8, 8), "little") == MAGIC
    finally:
        file.close()
