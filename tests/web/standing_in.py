"""A model that stands in for a trained one: quick, and of a known answer."""

import io
import socket
import threading
from types import SimpleNamespace

import numpy as np
from PIL import Image

from skinmnist import facts
from skinmnist.datasets.images.pictures import open_picture, picture_row
from skinmnist.inference.prediction import Prediction
from skinmnist.web.app import make_app
from skinmnist.web.server import make_server, open_socket

#: The mean level from which on the stand-in is undecided.
UNDECIDED_LEVEL = 200


class StandIn:
    """Says that a picture is of the class whose code is its mean level modulo the classes.

    From `UNDECIDED_LEVEL` on, the class that follows is half as probable.
    """

    title = "Stand-in <b>model</b>"
    shape = (28, 28, 3)
    class_names = facts.CLASS_NAMES
    full_names = tuple(facts.CLASS_TITLES[name] for name in facts.CLASS_NAMES)
    manifest = SimpleNamespace(
        synthetic=False, sets=None, scores={"macro_f1": (0.5, 0.1), "log_loss": (0.9, 0.1)}
    )

    def classify(self, image):
        row = picture_row(open_picture(image), self.shape)
        shares = np.full(len(self.class_names), 0.01)
        shares[int(row.mean()) % len(shares)] = 1
        if row.mean() >= UNDECIDED_LEVEL - 1:
            shares[(int(row.mean()) + 1) % len(shares)] = 0.6
        shares /= shares.sum()
        best = int(shares.argmax())
        strange = 2.0 if np.ptp(row) == 0 else 0.5
        return Prediction(
            label=self.class_names[best],
            name=self.full_names[best],
            probability=float(shares[best]),
            probabilities=dict(zip(self.class_names, shares.tolist(), strict=True)),
            full_names=dict(zip(self.class_names, self.full_names, strict=True)),
            warnings=("The picture is unlike <i>those</i> that were learnt.",) if strange > 1 else (),
            novelty_score=strange,
            pixels=row.reshape(self.shape),
        )

    def explain_picture(self, image):
        return png(open_picture(image).resize((56, 56)))


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def speckled(level=100, size=(40, 30)):
    """Return the content of a PNG of about one level."""
    noise = np.random.default_rng(level).integers(-3, 4, (size[1], size[0], 3))
    return png(Image.fromarray((level + noise).astype(np.uint8)))


class Running:
    """A server of a model on a free port, in a thread; used as a context."""

    def __init__(self, model=None, host="127.0.0.1", patience=20.0):
        self.socket = open_socket(host, 0)
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.server = make_server(make_app(model or StandIn(), host), patience)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def raw(self, *parts, seconds=10.0):
        """Send bytes as they are; return what comes back until the server closes, or falls silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
            except OSError:
                pass  # The server has heard enough.
            answer = b""
            try:
                while chunk := connection.recv(65_536):
                    answer += chunk
            except OSError:
                pass
            return answer

    def ask(self, method="GET", path="/", body=b"", **headers):
        """Send one whole request and return status, headers and body."""
        lines = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body or method == "POST":
            lines["Content-Length"] = str(len(body))
        head = f"{method} {path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return parsed(self.raw(head.encode("latin-1") + b"\r\n", body))


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split()[1]) if first else 0
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return status, headers, body
