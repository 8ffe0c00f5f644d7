"""The page, in a real browser, and the API's description."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import coldframe.tf1 as tf
from coldframe.serve.config import ModelConfig
from coldframe.serve.server import ServeOptions
from serving import Running, half_plus, one_model, running

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def find(browser: webdriver.Chrome, selector: str, text: str = "") -> Any:
    """Wait for an element that shows some text, and return it."""

    def look(driver: webdriver.Chrome) -> Any:
        found = [e for e in driver.find_elements(By.CSS_SELECTOR, selector) if text in e.text]
        return found[0] if found else None

    return WebDriverWait(browser, 20, ignored_exceptions=[Exception]).until(look)


@needs_browser
def test_models_are_shown_and_can_be_tried(browser: webdriver.Chrome, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    half_plus(tmp_path / "m" / "1", 1.0)
    with running(one_model(tmp_path / "m")) as server:
        browser.get(server.rest)
        find(browser, "#summary", "1 of 1 models are available")
        find(browser, "[data-model=m]", "version 1 AVAILABLE")
        default = find(browser, "[data-signature=serving_default]", "x float32 [?, 1]")
        assert f"""curl -d '{{"inputs":{{"x":[[0]]}}}}' \\\n  {server.rest}/v1/models/m:predict""" in default.text
        assert f'client = connect("{server.rest}")' in default.text
        text = default.find_element(By.TAG_NAME, "textarea")
        text.clear()
        text.send_keys('{"instances": [1.0, 5.0]}')
        default.find_element(By.TAG_NAME, "button").click()
        assert '{"predictions":[1.5,3.5]}' in find(browser, ".reply", "200, ").text
        text.clear()
        text.send_keys("{")
        default.find_element(By.TAG_NAME, "button").click()
        find(browser, ".reply", "400, ")
        find(browser, ".latency", "1 requests, ")
        half_plus(tmp_path / "m" / "2", 2.0)  # what changes is drawn, without a reload
        find(browser, "[data-model=m]", "version 2 AVAILABLE")
        browser.get(f"{server.rest}/docs")
        find(browser, "details", "POST /v1/models/{model}:predict")
        wrong = [
            entry
            for entry in browser.get_log("browser")
            if entry["level"] == "SEVERE" and "400" not in entry["message"]
        ]
        assert not wrong
        asked = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
        urls = {e["params"]["request"]["url"] for e in asked if e["method"] == "Network.requestWillBeSent"}
        assert all(u.startswith((server.rest, "data:", "chrome")) for u in urls), urls  # it works without a network


@needs_browser
def test_snippets_run_and_forms_are_filled(browser: webdriver.Chrome, tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        image = tf.placeholder(tf.uint8, [None, 6, 6, 3], name="image")
        scale = tf.placeholder(tf.float32, [], name="scale")
        loud = tf.placeholder(tf.bool, [1], name="loud")
        text = tf.placeholder(tf.string, [None], name="text")
        total = tf.reduce_sum(tf.cast(image, tf.float32)) * scale
        inputs = {"image": image, "scale": scale, "loud": loud, "text": text}
        outputs = {"total": total, "text": tf.strings.upper(text), "not": tf.logical_not(loud)}
        tf.saved_model.simple_save(session, str(tmp_path / "m" / "1"), inputs, outputs)
    expected = {"outputs": {"total": 0.0, "text": [""], "not": [True]}}
    models = (ModelConfig("m", tmp_path / "m"), ModelConfig("none", tmp_path / "none"))
    with running(ServeOptions(models=models, tokens=("t",))) as server:
        browser.get(server.rest)
        find(browser, "#summary", "a token is needed")
        browser.find_element(By.ID, "token").send_keys("t")
        default = find(browser, "[data-signature=serving_default]", "image uint8 [?, 6, 6, 3]")
        assert "scale float32 []" in default.text
        find(browser, "[data-model=none]", "no versions in its base path")
        curl, python = (e.text for e in default.find_elements(By.CSS_SELECTOR, "pre")[:2])
        default.find_element(By.TAG_NAME, "button").click()
        reply = find(browser, ".reply", "200, ").text
        assert json.loads(reply.partition("\n")[2]) == expected
        environment = {**os.environ, "TOKEN": "t"}
        ran = subprocess.run(["bash", "-c", curl], capture_output=True, env=environment, timeout=60)
        assert json.loads(ran.stdout) == expected
        python = python.replace('token="TOKEN"', 'token="t"').replace("client.predict", "print(client.predict") + ")"
        ran = subprocess.run([sys.executable, "-c", python], capture_output=True, timeout=60)
        assert b"'total': array(0., dtype=float32)" in ran.stdout, ran.stderr.decode()


@needs_browser
def test_the_page_asks_for_a_token(browser: webdriver.Chrome, base: Path) -> None:
    with running(one_model(base, tokens=("t",))) as server:
        browser.get(server.rest)
        find(browser, "#summary", "a token is needed")
        find(browser, "#token").send_keys("t")
        find(browser, "#summary", "1 of 1 models are available")


def test_the_description_and_the_pages(served: Running) -> None:
    with httpx.Client(base_url=served.rest) as client:
        found = client.get("/openapi.json").json()
        assert found["openapi"] == "3.1.0"
        assert "/v1/models/{model}/labels/{label}:regress" in found["paths"]
        assert "/v2/models/{model}/infer" in found["paths"]
        for path in ("/", "/page.css", "/page.js", "/docs", "/docs.js"):
            reply = client.get(path)
            assert reply.status_code == 200
            assert "default-src 'none'" in reply.headers["content-security-policy"]
        (model,) = client.get("/page/models").json()
    assert model["versions"] == [{"version": 2, "state": "AVAILABLE", "message": "", "labels": []}]
    assert model["signatures"]["classify"]["method"] == "classify"
