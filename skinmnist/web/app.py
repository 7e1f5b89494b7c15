"""The application: a page, and an endpoint that classifies a picture."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import numpy as np
import numpy.typing as npt
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skinmnist import facts
from skinmnist.datasets.images.limits import LARGE_PIXELS, check_limits
from skinmnist.datasets.images.pictures import FORMATS_SAID, MAX_BYTES, MAX_PIXELS, open_picture, picture_row
from skinmnist.datasets.mapped import trim_memory
from skinmnist.errors import InputError
from skinmnist.inference.classifier import SYNTHETIC_WARNING
from skinmnist.inference.prediction import SETS
from skinmnist.text import template_environment
from skinmnist.web.server import Bodies, Guard

if TYPE_CHECKING:
    from skinmnist.inference.classifier import Classifier

#: Number of small pictures processed in parallel. Large pictures are processed one at a time, and never
#: delay small pictures.
WORKERS = 2
#: Larger files are treated as large pictures without being opened.
LARGE_BYTES = 4 * 2**20
#: Delay after a response, in seconds, before freed memory returns to the system.
TRIM_AFTER = 0.5
#: Scores shown on the page, with their labels.
SHOWN = {
    "macro_f1": "Macro-F1",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "recall_mel": "Melanoma recall",
}
#: Side of a sample picture, in pixels.
SAMPLE_SIDE = 96
#: The last sample: a picture without a lesion, which the model should decline to classify.
NO_LESION = "No lesion"
#: The errors of requests without a handler.
_UNROUTED = {
    404: "received an unknown path; expected / for the page, or /api/classify with a picture for its classes",
    405: "received a method that this path does not take; expected GET, or POST for /api/classify",
}
_SAMPLING = threading.Lock()
_HERE = Path(__file__).parent


def make_app(model: Classifier, host: str = "127.0.0.1") -> Guard:
    """Create the application for one model, which several threads call; requests are not stored.

    ``GET /`` returns the page and ``GET /api/model`` a description of the model. ``POST /api/classify``
    accepts a picture, as the body or as the only file in a form, and returns the prediction as JSON. With
    ``?pictures=1``, it adds the model's input picture and a map of the regions behind the prediction, as data
    URIs. ``GET /samples/0.png`` and the following numbers return synthetic sample pictures. Errors are
    ``{"error": "one sentence"}``. Requests for names other than `host`, the listening address, are rejected.
    """
    desk = _Desk(model)
    files = [
        ("/", _page(desk.description), "text/html; charset=utf-8"),
        ("/page.css", (_HERE / "page.css").read_bytes(), "text/css; charset=utf-8"),
        ("/page.js", (_HERE / "page.js").read_bytes(), "text/javascript; charset=utf-8"),
        ("/icon.svg", (_HERE / "icon.svg").read_bytes(), "image/svg+xml"),
    ]
    routes = [Route(path, _file(content, kind)) for path, content, kind in files]
    routes += [
        Route("/api/model", desk.describe),
        Route("/api/classify", desk.classify, methods=["POST"]),
        *(Route(f"/samples/{number}.png", _sample(number)) for number in range(len(_sample_names()))),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refused, Exception: _unexpected}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), host)


class _Desk:
    """Request handlers that pass pictures to the model in threads and return its predictions."""

    def __init__(self, model: Classifier) -> None:
        self._model = model
        self._bodies = Bodies()
        self._lanes: dict[bool, anyio.CapacityLimiter] = {}
        self._trimming = False
        height, width, channels = model.shape
        self.description = {
            "title": model.title,
            "shape": [height, width, channels],
            "classes": dict(zip(model.class_names, model.full_names, strict=True)),
            "formats": FORMATS_SAID,
            "max_bytes": MAX_BYTES,
            "max_pixels": MAX_PIXELS,
            "synthetic": model.manifest.synthetic,
            "sets": f"{SETS} {model.manifest.sets.promise}." if model.manifest.sets else None,
            "scores": {SHOWN[name]: score for name, score in model.manifest.scores.items() if name in SHOWN},
            "notice": facts.DISCLAIMER,
        }

    async def describe(self, request: Request) -> Response:
        return JSONResponse(self.description)

    async def classify(self, request: Request) -> Response:
        """Classify one picture; return errors as text, since exceptions would keep the picture in memory."""
        explained = request.query_params.get("pictures") == "1"
        try:
            async with self._bodies.picture(request) as content:
                lane = await self._lane(content)
                answer = await anyio.to_thread.run_sync(self._answer, content, explained, limiter=lane)
            return JSONResponse(answer, 422 if "error" in answer else 200)
        finally:
            self._trim_soon()

    async def _lane(self, content: bytes) -> anyio.CapacityLimiter:
        if not self._lanes:  # Created lazily, because they belong to the running event loop.
            self._lanes = {True: anyio.CapacityLimiter(1), False: anyio.CapacityLimiter(WORKERS)}
        large = len(content) > LARGE_BYTES
        if not large:
            large = await anyio.to_thread.run_sync(_is_large, content, limiter=self._lanes[False])
        return self._lanes[large]

    def _trim_soon(self) -> None:
        """Trim memory once after a series of responses, when all their objects are freed."""
        if not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(TRIM_AFTER, self._trim)

    def _trim(self) -> None:
        self._trimming = False
        asyncio.get_running_loop().run_in_executor(None, trim_memory)

    def _answer(self, content: bytes, explained: bool) -> dict[str, Any]:
        # At its final size, the picture is a separate row, so the large original can be freed.
        try:
            seen = picture_row(open_picture(content), self._model.shape).reshape(self._model.shape)
        except InputError as error:
            return {"error": str(error)}
        prediction = self._model.classify(seen)
        answer = prediction.to_dict()
        if explained:
            answer["seen"] = _data_uri(_png(prediction.pixels))
            answer["explanation"] = _data_uri(self._model.explain_picture(seen))
        return answer


def _is_large(content: bytes) -> bool:
    try:
        return check_limits(content) > LARGE_PIXELS
    except InputError:
        return False  # Classification rejects the picture again, quickly.


def _page(description: dict[str, Any]) -> bytes:
    lesions = set(description["classes"]) <= set(facts.CLASS_NAMES)
    page = template_environment(_HERE).get_template("page.html")
    return page.render(
        model=description,
        synthetic_warning=SYNTHETIC_WARNING,
        samples=_sample_names() if lesions else (),
        side=SAMPLE_SIDE,
    ).encode()


def _sample_names() -> tuple[str, ...]:
    return (*facts.CLASS_TITLES.values(), NO_LESION)


@lru_cache(maxsize=1)
def _sample_pictures() -> tuple[bytes, ...]:
    """Draw a synthetic lesion of each class, and a picture without a lesion, as PNG."""
    from skinmnist.datasets.synthetic.lesions import make_lesions
    from skinmnist.datasets.table import to_images

    n_classes = len(facts.CLASS_NAMES)
    table = make_lesions(5 * n_classes, class_weights=[1] * n_classes, size=SAMPLE_SIDE, random_state=1)
    images = to_images(table.pixels, table.shape)
    first = [int(np.argmax(table.labels == code)) for code in range(n_classes)]
    across, down = np.meshgrid(*[np.arange(SAMPLE_SIDE) // (SAMPLE_SIDE // 8)] * 2)
    board = np.array([[235, 232, 220], [30, 96, 120]], dtype=np.uint8)[(across + down) % 2]
    return tuple(_png(image) for image in [*images[first], board])


def _sample_pictures_once() -> tuple[bytes, ...]:
    with _SAMPLING:  # Browsers request all samples at once.
        return _sample_pictures()


def _sample(number: int) -> Any:
    async def answer(request: Request) -> Response:
        pictures = await anyio.to_thread.run_sync(_sample_pictures_once)
        return Response(pictures[number], media_type="image/png")

    return answer


def _file(content: bytes, kind: str) -> Any:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = _UNROUTED.get(error.status_code, error.detail)
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the program behind this page failed; its terminal shows the error"}, 500)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
