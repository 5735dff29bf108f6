"""``python -m lit edit``: a page where a person draws on the label map of a generated object, at any view.

All views follow the drawing; the look stays. Ctrl-C ends it.
"""

from __future__ import annotations

from lit.arguments import Arguments
from lit.commands.start_maps import add_start_options, read_start
from lit.editing.page_requests import EditingPage
from lit.editing.page_server import PageServer


def main(argv: list[str]) -> int:
    """``python -m lit edit --checkpoint FILE --data FOLDER``."""
    parser = Arguments("edit", __doc__ or "")
    add_start_options(parser, count=12)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8017, help="port; 0 takes a free one (default 8017)")
    options = parser.parse_args(argv)
    start = read_start(options)
    page = EditingPage(start.network, start.maps, start.orbit, start.names, start.seed)
    with PageServer(page, options.host, options.port) as server:
        print(f"draw at {server.address} (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    return 0
