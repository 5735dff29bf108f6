"""The page's script without a browser, where there is node: its requests reach a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from lit.editing.page_server import PageServer
from tests.lit.editing.test_page import page, picture

NODE = shutil.which("node")
HERE = Path(__file__).resolve()
SCRIPT = HERE.parents[3] / "lit" / "editing" / "page" / "edit.js"


@pytest.mark.skipif(NODE is None, reason="no node")
def test_the_script_draws_looks_elsewhere_and_takes_it_back() -> None:
    server = PageServer(page())
    drawn: list[np.ndarray] = []
    session = server.page.session
    replace = session.replace

    def kept(labels: np.ndarray, camera: Tensor) -> None:
        drawn.append(labels)
        replace(labels, camera)

    session.replace = kept  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = picture(server, "/picture/image?yaw=2.0&pitch=0.1")
    words = [str(NODE), str(HERE.with_name("page_script.js")), server.address, str(SCRIPT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["drawn"]
    assert found["posts"] == ["POST stroke", "POST undo"]
    assert found["brushes"] == ["false", "false", "true", "false"]
    assert found["said"] == ""
    assert (drawn[0][8, 4:12] == 2).all()
    np.testing.assert_array_equal(picture(server, "/picture/image?yaw=2.0&pitch=0.1"), before)
    server.shutdown()
    server.server_close()
