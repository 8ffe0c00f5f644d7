"""The fixture that runs command lines."""

from __future__ import annotations

import pytest

from cli_harness import ROOT, Command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("COLUMNS", raising=False)
    return Command(capsys)
