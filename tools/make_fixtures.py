"""Make the golden fixtures in tests/fixtures with TensorFlow, and TensorFlow's answers beside them.

Run with TensorFlow installed: ``python tools/make_fixtures.py [NAME ...]``; without names, all are made. Each has a
folder of its own, and an entry in ``manifest.json``; tests/fixtures_data.py reads them. To add one, write a maker (a
function that fills a given folder) in a module of tools/fixtures and add it to that module's ``MAKERS``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import tensorflow as tf

from fixtures import bundles, checkpoints, frozen, objects, saved_models
from fixtures.common import Maker, write_answers

TARGET = Path(__file__).resolve().parents[1] / "tests" / "fixtures"
FAMILIES = (checkpoints, bundles, objects, frozen, saved_models)


def makers() -> dict[str, Maker]:
    """All makers by the name of their fixture."""
    found: dict[str, Maker] = {}
    for maker in (m for family in FAMILIES for m in family.MAKERS):
        if maker.name in found:
            raise ValueError(f"two fixtures are called {maker.name!r}")
        found[maker.name] = maker
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="fixtures to make; all when left out")
    known = makers()
    wanted = parser.parse_args().names or list(known)
    if unknown := set(wanted) - set(known):
        parser.error(f"no such fixture: {', '.join(sorted(unknown))}; known: {', '.join(known)}")

    manifest = TARGET / "manifest.json"
    old = json.loads(manifest.read_text())["fixtures"] if manifest.exists() else []
    entries = {e["name"]: e for e in old if e["name"] in known}
    for name in wanted:
        folder = TARGET / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        entries[name] = write_answers(name, folder, known[name].make(folder))
        print(f"{name}: {sum(p.stat().st_size for p in folder.rglob('*') if p.is_file()):,} bytes", flush=True)
        ordered = [entries[n] for n in known if n in entries]
        manifest.write_text(json.dumps({"tensorflow": tf.__version__, "fixtures": ordered}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
