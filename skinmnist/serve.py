"""``python -m skinmnist.serve``: a local page that classifies pictures with a trained model."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import threading
import webbrowser

from skinmnist import facts
from skinmnist.console.common import command_parser, guarded, say

#: The packages in the ``web`` extra.
NEEDED = ("starlette", "uvicorn")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "serve",
        "Open a page that classifies pictures on this machine; nothing is stored. Press Ctrl+C to stop.",
        ("", "model.skm --port 0 --no-browser"),
        closing=facts.DISCLAIMER,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help="a model file (.skm); default: the newest that was trained")
    add("--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1, this machine only")
    add("--port", type=int, default=8000, help="default: 8000; 0 takes any free one")
    add("--no-browser", action="store_true", help="do not open the page in a browser")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> int:
    from skinmnist.errors import InputError

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the page needs {' and '.join(missing)}; install the extra 'web': pip install 'skinmnist[web]'"
        )
    from skinmnist.inference.classifier import load_classifier
    from skinmnist.inference.model_file import newest_model
    from skinmnist.web.app import make_app
    from skinmnist.web.server import make_server, open_socket

    model = load_classifier(options.model or newest_model())
    listening = open_socket(options.host, options.port)
    port = listening.getsockname()[1]
    address = f"[{options.host}]" if ":" in options.host else options.host
    everywhere = options.host in ("0.0.0.0", "::")
    url = f"http://{'127.0.0.1' if everywhere else address}:{port}/"
    say(f"{model.title}: {url} (Ctrl+C ends it)")
    if options.host not in ("127.0.0.1", "::1", "localhost"):
        say(f"note: everyone who reaches {options.host} can use this page", file=sys.stderr)
    print(facts.DISCLAIMER, flush=True)
    if not options.no_browser:
        threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
    try:
        make_server(make_app(model, options.host)).run(sockets=[listening])
    except KeyboardInterrupt:
        print("ended")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
