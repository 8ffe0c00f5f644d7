"""Every example in the documentation runs, and says what it is shown to say.

A page is run from top to bottom in a folder of its own that holds `examples`:

- a ``python`` block is executed; what earlier blocks defined is there. What it prints is compared with the ``text``
  block that follows it directly, if one does;
- in a ``console`` block, lines that begin with ``$ coldframe`` are run, and what they say, on stdout and stderr, is
  compared with the lines up to the next ``$``. Lines with another command are for readers only.

``...`` stands for any text, also over lines. ``COLDFRAME_UPDATE=1`` writes shown output without ``...`` anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from coldframe.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Example:
    """Code, and what it is shown to say (None: nothing is shown), which lies at `at` of the page."""

    kind: str
    code: str
    shown: str | None
    at: int = 0


def examples(text: str) -> Iterator[Example]:
    blocks = list(BLOCK.finditer(text))
    for block, after in zip(blocks, [*blocks, None][1:], strict=True):
        if block[1] == "python":
            follows = after is not None and after[1] == "text" and not text[block.end() : after.start()].strip()
            if after is not None and follows:
                yield Example("python", block[2], after[2], after.start(2))
            else:
                yield Example("python", block[2], None)
        elif block[1] == "console":
            for part in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block[2], re.MULTILINE):
                if part[1].startswith("coldframe"):
                    yield Example("console", part[1], part[2], block.start(2) + part.start(2))


def run(example: Example, namespace: dict[str, object]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if example.kind == "python":
            exec(compile(example.code, "<example>", "exec"), namespace)
        else:
            main(shlex.split(example.code)[1:])
    return said.getvalue()


def fits(shown: str, said: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in _stripped(shown).split("..."))
    return re.fullmatch(pattern, _stripped(said), re.DOTALL) is not None


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.fixture
def namespace() -> Iterator[dict[str, object]]:
    """What a page's code defines; processes that it began and left behind are ended, archives closed."""
    found: dict[str, object] = {}
    yield found
    for value in found.values():
        if isinstance(value, subprocess.Popen):
            value.kill()
            value.wait()
        elif isinstance(value, np.lib.npyio.NpzFile):
            value.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: dict[str, object]) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    anew: list[tuple[Example, str]] = []
    for example in examples(text):
        said = run(example, namespace)
        if example.shown is None or fits(example.shown, said):
            continue
        if os.environ.get("COLDFRAME_UPDATE") and "..." not in example.shown:
            anew.append((example, said))
            continue
        assert _stripped(said) == _stripped(example.shown), example.code
    for example, said in reversed(anew):
        shown = example.shown or ""
        text = text[: example.at] + _stripped(said) + "\n" + text[example.at + len(shown) :]
    if anew:
        page.write_text(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_every_command_and_public_name_is_documented() -> None:
    import coldframe as cf
    from coldframe.cli.main import COMMANDS

    text = "".join(p.read_text() for p in PAGES)
    assert [c for c in COMMANDS if f"coldframe {c}" not in text] == []
    assert [n for n in cf.__all__ if n not in text] == []


def test_the_checks_can_fail() -> None:
    (example,) = examples("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    assert run(example, {}) == "1\n"
    assert not fits(str(example.shown), "1\n")
    assert fits("a ...\nd\n", "a b\nc\nd\n")
