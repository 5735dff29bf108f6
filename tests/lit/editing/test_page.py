"""The page over HTTP: what it shows, that a stroke changes other views, and what it refuses."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.errors import InputError
from lit.editing.page_requests import EditingPage, StartMap
from lit.editing.page_server import LARGEST, PageServer
from lit.rendering.orbit import ORBITS
from tests.lit.networks.pix2pix3d.small import label_maps, small

CAR = ORBITS["car"]


def page(kind: str = "segmentation", **options: Any) -> EditingPage:
    maps = label_maps(kind).numpy()
    starts = [StartMap(f"map {i}", labels.squeeze(), CAR.camera(i, 0.2)) for i, labels in enumerate(maps)]
    return EditingPage(small(kind).eval(), starts, CAR, **options)


@pytest.fixture
def server() -> Iterator[PageServer]:
    made = PageServer(page())
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def ask(server: PageServer, method: str, target: str, content: Any = None, **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(server.host, server.server_port, timeout=60)
    body = None if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
    given = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, target, body, {**given, **{k.replace("_", "-"): v for k, v in headers.items()}})
    answer = connection.getresponse()
    found = answer.status, answer.headers.get_content_type(), answer.read()
    connection.close()
    return found


def picture(server: PageServer, target: str) -> np.ndarray:
    status, media, body = ask(server, "GET", target)
    assert (status, media) == (200, "image/png"), body
    decoded = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1])


def test_a_stroke_over_http_changes_map_image_and_other_views_until_it_is_undone(server: PageServer) -> None:
    targets = [f"/picture/{what}{at}" for at in ("", "?yaw=2.0&pitch=0.1") for what in ("image", "labels", "canvas")]
    before = [picture(server, target) for target in targets]
    assert {seen.shape for seen in before} == {(16, 16, 3)}
    stroke = {"points": [[3, 8], [12, 8]], "radius": 2, "value": 2}
    status, _, body = ask(server, "POST", "/stroke", stroke)
    state = json.loads(body)
    assert (status, state["undoable"], state["version"]) == (200, 1, 2)
    after = [picture(server, target) for target in targets]
    assert all(not np.array_equal(a, b) for a, b in zip(before[:1] + before[2:4], after[:1] + after[2:4]))
    assert after[2][8, 8].tolist() == state["brushes"][2]["colour"]
    ask(server, "POST", "/stroke", {**stroke, "yaw": 2.0, "pitch": 0.1})
    assert not np.array_equal(picture(server, "/picture/image"), after[0])
    for _ in range(2):
        ask(server, "POST", "/undo", {})
    assert all(np.array_equal(picture(server, target), seen) for target, seen in zip(targets, before))


def test_the_page_is_whole_without_the_network(server: PageServer) -> None:
    for target, media in (("/", "text/html"), ("/edit.js", "text/javascript"), ("/edit.css", "text/css")):
        status, found, body = ask(server, "GET", target)
        assert (status, found) == (200, media)
        assert b"http" not in body.replace(b"http://www.w3.org/2000/svg", b"")
    html, script = (ask(server, "GET", target)[2].decode() for target in ("/", "/edit.js"))
    for name in {part.split('"')[0] for part in script.split('id("')[1:]}:
        assert f'id="{name}"' in html


def test_looks_and_maps(server: PageServer) -> None:
    first = picture(server, "/picture/image")
    assert json.loads(ask(server, "POST", "/look", {"number": 3})[2])["undoable"] == 1
    assert not np.array_equal(picture(server, "/picture/image"), first)
    assert json.loads(ask(server, "POST", "/begin", {"number": 1})[2])["undoable"] == 0
    assert not np.array_equal(picture(server, "/picture/canvas"), label_maps("segmentation")[0])
    ask(server, "POST", "/begin", {"number": 0})
    np.testing.assert_array_equal(picture(server, "/picture/image"), first)


def test_what_it_refuses_changes_nothing(server: PageServer) -> None:
    stroke = {"points": [[3, 8]], "radius": 2, "value": 2}
    cases: list[tuple[int, str, str, Any, dict[str, str]]] = [
        (404, "GET", "/elsewhere", None, {}),
        (405, "GET", "/stroke", None, {}),
        (400, "GET", "/picture/depth", None, {}),
        (400, "GET", "/picture/image?yaw=west", None, {}),
        (400, "GET", "/picture/image?yaw=nan", None, {}),
        (400, "POST", "/stroke", {**stroke, "value": 9}, {}),
        (400, "POST", "/stroke", {**stroke, "points": []}, {}),
        (400, "POST", "/stroke", {**stroke, "radius": -1}, {}),
        (400, "POST", "/stroke", {**stroke, "surplus": 1}, {}),
        (400, "POST", "/stroke", b"[", {}),
        (400, "POST", "/begin", {"number": 9}, {}),
        (413, "POST", "/stroke", b" " * (LARGEST + 1), {}),
        (413, "POST", "/stroke", b" " * (16 * LARGEST), {}),  # more than the two sockets' buffers hold
        (415, "POST", "/stroke", stroke, {"Content_Type": "text/plain"}),
        (403, "POST", "/stroke", stroke, {"Host": "elsewhere.example"}),
    ]
    for status, method, target, content, headers in cases:
        found, media, body = ask(server, method, target, content, **headers)
        assert (found, media) == (status, "application/json"), (target, content, body)
        assert json.loads(body)["error"]
        assert "\n" not in json.loads(body)["error"]
    assert json.loads(ask(server, "GET", "/state")[2])["version"] == 1
    assert server.page.answer("GET", "http://[bad").status == 400  # Python's own client would not send it


def test_edges_have_ink_and_a_rubber_and_classes_their_names() -> None:
    assert list(page("edges").brushes) == ["rubber", "ink"]
    assert list(page(names=["a", "b", "c", "d"]).brushes) == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match="2 names: expected 4"):
        page(names=["a", "b"])


def test_a_taken_port_is_one_line(server: PageServer) -> None:
    with pytest.raises(InputError, match="choose another"):
        PageServer(server.page, "192.0.2.1")
