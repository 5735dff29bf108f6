"""``edit`` opens a page on a checkpoint's object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lit.commands.edit import main
from lit.editing.page_server import PageServer
from tests.lit.commands.small_checkpoint import write_checkpoint


def test_it_serves_the_maps_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, maps = write_checkpoint(tmp_path)
    served: list[PageServer] = []
    monkeypatch.setattr(PageServer, "serve_forever", lambda self: served.append(self))
    words = ["--checkpoint", str(checkpoint), "--map", *map(str, maps), "--port", "0", "--device", "cpu"]
    assert main(words) == 0
    assert f"draw at http://127.0.0.1:{served[0].server_port}/" in capsys.readouterr().out
    page = served[0].page
    assert page.state()["maps"] == ["segmentation0", "segmentation1"]
    np.testing.assert_array_equal(page.session.canvas(page.maps[0].camera), page.maps[0].labels)
