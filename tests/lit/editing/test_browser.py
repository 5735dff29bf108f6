"""The page in a real browser, where Debian's chromium and playwright are installed."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit.editing.page_server import PageServer
from tests.lit.editing.test_page import page, picture

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]  # a page of this machine, nothing of the net
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PIXELS = """async () => {
  const image = document.getElementById('image'), canvas = document.createElement('canvas');
  await image.decode();
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const paint = canvas.getContext('2d');
  paint.drawImage(image, 0, 0);
  return Array.from(paint.getImageData(0, 0, canvas.width, canvas.height).data);
}"""


def seen_at(tab: Any, yaw: float) -> np.ndarray:
    """What the page shows when its slider is moved there."""
    tab.fill("#yaw", str(yaw))
    tab.wait_for_selector(f"body[data-view*='yaw={int(yaw)}.']")  # sliders have steps
    return np.array(tab.evaluate(PIXELS))


def test_a_stroke_in_the_browser_changes_the_image_at_another_view(tmp_path: Path) -> None:
    api: Any = pytest.importorskip("playwright.sync_api", reason="playwright for Python is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium")
    server = PageServer(page())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    other = "/picture/image?yaw=2.0&pitch=0.1"
    before = picture(server, other)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page()
        said: list[str] = []
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(server.address)
        tab.wait_for_selector("body[data-version='1'][data-film='1']")
        turned = seen_at(tab, 1.5)
        tab.click("#own")
        tab.wait_for_selector("body[data-view='']")
        shown = np.array(tab.evaluate(PIXELS))
        tab.click("#brushes button:nth-child(3)")
        box = tab.locator("#canvas").bounding_box()
        assert box is not None
        tab.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
        tab.mouse.up()
        tab.wait_for_selector("body[data-version='2'][data-film='2']")
        assert not np.array_equal(np.array(tab.evaluate(PIXELS)), shown)
        assert not np.array_equal(picture(server, other), before)
        drawn = server.page.session.canvas(server.page.session.states[-1].camera)
        assert (drawn[8, 4:12] == 2).all()
        tab.screenshot(path=tmp_path / "page.png")
        assert not np.array_equal(seen_at(tab, 1.5), turned)
        tab.click("#undo")
        tab.wait_for_selector("body[data-version='3']")
        assert np.array_equal(seen_at(tab, 1.5), turned)
        np.testing.assert_array_equal(picture(server, other), before)
        assert said == []
        browser.close()
    server.shutdown()
    server.server_close()
