"""Damage every golden file in thousands of ways, and see that coldframe refuses or answers rightly.

python tools/mutate.py                                          all files, every truncation, 10,000 changes each
python tools/mutate.py v2_adam --changes 300                    the files whose name has `v2_adam` in it
python tools/mutate.py v2_adam/model.ckpt-2.index --only cut:17 one mutation again
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from mutation import mutations
from mutation.sweep import sweep
from mutation.targets import targets


def main() -> int:
    parser = argparse.ArgumentParser(description="Damage the golden files and open them.")
    parser.add_argument("names", nargs="*", help="parts of the names of files; none means all")
    parser.add_argument("--changes", type=int, default=10_000, help="changes of bytes per file")
    parser.add_argument("--sample", type=int, help="that many mutations per file instead")
    parser.add_argument("--only", action="append", help="only this mutation")
    args = parser.parse_args()
    total: collections.Counter[str] = collections.Counter()
    failed = 0
    for target in targets():
        if args.names and not any(n in target.name for n in args.names):
            continue
        size, start = target.file.stat().st_size, time.perf_counter()
        names = args.only or (
            mutations.sample(size, args.sample)
            if args.sample
            else [mutations.INTACT, *mutations.cuts(size), *mutations.changes(args.changes)]
        )
        failures, counts = sweep([(target.name, names)])
        total += counts
        failed += len(failures)
        print(f"{target.name}: {len(names)} in {time.perf_counter() - start:.1f} s, {dict(counts)}", flush=True)
        for failure in failures[:20]:
            print(f"  FAILED {failure}", flush=True)
    print(f"{sum(total.values())} mutations stood, {failed} did not: {dict(total)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
