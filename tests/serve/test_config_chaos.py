"""Configuration files that are wrong, vanish, or name what is not there: what serves goes on serving."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from coldframe.errors import ColdframeError
from coldframe.serve.server import ServeOptions
from serving import Running, half_plus, running, until

GOOD = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" {} }}'


def _list(*entries: str) -> str:
    return f"model_config_list {{ {' '.join(entries)} }}"


def _label(version: int) -> str:
    return f'version_labels {{ key: "stable" value: {version} }}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, offset in (("a", 1.0), ("b", 5.0)):
        (tmp_path / name).mkdir()
        half_plus(tmp_path / name / "3", offset)
    return tmp_path


def _answer(server: Running, path: str) -> object:
    reply = httpx.post(f"{server.rest}/v1/models/{path}:predict", json={"inputs": [0.0]})
    return reply.json().get("outputs", reply.status_code)


WRONG: dict[str, tuple[Callable[[Path], str | bytes], str]] = {
    "empty": (lambda f: "# ", "Cannot transition to requested config"),
    "garbage": (lambda f: "model_config_list { config {", "was not taken over"),
    "no text": (lambda f: b"\xff\xfe\x00", "no text in .* at byte 0"),
    "another message": (lambda f: 'server_key: "k"', "no field named .server_key"),
    "twice": (lambda f: _list(*[GOOD.format("a", f / "a", "")] * 2), "Illegal to list model a multiple times"),
    "no path": (lambda f: _list('config { name: "a" }'), "Expected model a to have an absolute path"),
    "another platform": (
        lambda f: _list(GOOD.format("a", f / "a", "").replace("tensorflow", "caffe")), "unsupported platform caffe"),
    "a label for nothing": (
        lambda f: _list(GOOD.format("a", f / "a", _label(9))), "Request to assign label to version 9 of model a"),
    "no such base path": (lambda f: _list(GOOD.format("a", f / "none", _label(3))), "cannot be read"),
}  # fmt: skip


def test_wrong_files_change_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each is reported; labels, models and versions stay, but for the model list where that itself is right."""
    file = folder / "config"
    good = _list(GOOD.format("a", folder / "a", _label(3)))
    file.write_text(good)
    failed: list[object] = []
    ending = threading.Event()
    with running(ServeOptions(config_file=file, config_poll=0, version_poll=0)) as server:

        def ask() -> None:
            while not ending.is_set():
                found = _answer(server, "a/labels/stable")
                if found != [1.0]:
                    failed.append(found)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for name, (make, told) in WRONG.items():
                content = make(folder)
                file.write_bytes(content if isinstance(content, bytes) else content.encode())
                caplog.clear()
                server.server.reload()
                with pytest.raises(ValueError, match=told):
                    raise ValueError(caplog.text)
                assert _answer(server, "a") == [1.0], name
                assert _answer(server, "a/labels/stable") == [1.0], name
                file.write_text(good)
                server.server.reload()
            file.unlink()
            server.server.reload()
            assert _answer(server, "a") == [1.0]
        finally:
            ending.set()
            asking.join()
        assert failed == []


def test_the_file_is_looked_at_again_after_it_was_wrong(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = folder / "config"
    file.write_text(_list(GOOD.format("a", folder / "a", "")))
    with running(ServeOptions(config_file=file, config_poll=0.05, version_poll=0)) as server:
        for number, content in enumerate((b"\xff", b"model_config_list { nonsense", b"\x00" * 10)):
            caplog.clear()
            file.write_bytes(content)
            os.utime(file, ns=(number, number))
            until(lambda: "was not taken over" in caplog.text)
        file.unlink()
        file.write_text(_list(GOOD.format("a", folder / "a", ""), GOOD.format("b", folder / "b", _label(3))))
        until(lambda: _answer(server, "b/labels/stable") == [5.0])
        assert _answer(server, "a") == [1.0]


def test_configurations_change_under_load(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Models and labels come and go beside one that stays, which answers every request."""
    caplog.set_level(logging.ERROR)
    file = folder / "config"
    stays = GOOD.format("a", folder / "a", "")
    goes = [GOOD.format("b", folder / "b", more) for more in ("", _label(3))]
    file.write_text(_list(stays))
    failed: list[object] = []
    ending = threading.Event()
    with running(ServeOptions(config_file=file, config_poll=0, version_poll=0.05)) as server:

        def ask() -> None:
            while not ending.is_set():
                if (found := _answer(server, "a")) != [1.0]:
                    failed.append(found)
                if (found := _answer(server, "b/labels/stable")) not in ([5.0], 400, 404):
                    failed.append(found)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for t in threads:
            t.start()
        try:
            for _ in range(4):
                for entries in ((stays, goes[1]), (stays, goes[0]), (stays,)):
                    file.write_text(_list(*entries))
                    server.server.reload()
                    expected = [5.0] if entries[-1] is not stays else 404
                    assert _answer(server, "b") == expected
        finally:
            ending.set()
            for t in threads:
                t.join()
    assert failed == []
    assert caplog.text == ""


@pytest.mark.parametrize("case", [c for c in WRONG if c != "empty"])
def test_a_server_does_not_start_with_a_wrong_file(folder: Path, case: str) -> None:
    file = folder / "config"
    content = WRONG[case][0](folder)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ColdframeError) as caught, running(ServeOptions(config_file=file)):
        pass
    assert str(caught.value)
