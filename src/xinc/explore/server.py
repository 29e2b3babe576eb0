"""The local server behind ``xinc explore RUN``: the page, and its questions with live answers.

It listens on 127.0.0.1 only. Whoever asks must know the token in the page's address, name this host, and come from this
page: a foreign page in the same browser can do none of the three. Every question is
``GET /api/NAME?run=...&frame=...``; answers are blocks of :mod:`xinc.explore.wire`, errors JSON ``{"error": ...}``
with status 400 (what was asked cannot be), 403 (who asks may not) or 500.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xinc.errors import RunError, XincError
from xinc.explore.answers import Answers, Spot, Viewpoint
from xinc.explore.html import live_page
from xinc.explore.jobs import Lane, Watch
from xinc.explore.wire import pack

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
PORT = 8642
NAMES = ("127.0.0.1", "localhost")
"""How the page may call this machine."""

Query = Mapping[str, str]


@dataclass(frozen=True)
class Question:
    """A question of the API.

    Attributes:
        answer: from the live answers, the parameters of the address, and a watch.
        parameters: beside ``run``, ``frame``, ``layer`` and ``method``, for people.
        long: whether it takes long: it waits for none but its like, and stops when nobody waits.
    """

    answer: Callable[[Answers, Query, Watch], Mapping[str, Any]]
    parameters: str = ""
    long: bool = False


def number(asked: Query, name: str, otherwise: int | None = None) -> int:
    """A whole number of an address.

    Raises:
        ValueError: it is none.
        KeyError: it is not given, and nothing stands for it.
    """
    text = asked[name] if otherwise is None else asked.get(name, str(otherwise))
    if not text.lstrip("-").isdecimal():
        raise ValueError(f"{name}={text} is no whole number")
    return int(text)


def view_of(asked: Query) -> Viewpoint:
    """The view that an address names.

    Raises:
        ValueError: its frame is no number.
    """
    return Viewpoint(asked["run"], number(asked, "frame", 0), asked.get("layer", ""), asked.get("method", "exact"))


def place_of(asked: Query) -> Spot:
    """The pixels that an address names, by ``box=y0,x0,y1,x1`` or ``grouping=NAME&region=N``.

    Raises:
        ValueError: these are no numbers.
    """
    box = tuple(int(n) for n in asked["box"].split(",")) if asked.get("box") else None
    if box is not None and len(box) != 4:
        raise ValueError(f"box={asked['box']} is not y0,x0,y1,x1")
    return Spot(box, asked.get("grouping", ""), number(asked, "region", 0))


def chosen_of(text: str) -> dict[str, list[int]]:
    """``"block3:1,2;head:5"`` as neurons by layer.

    Raises:
        ValueError: it is not written so.
    """
    found: dict[str, list[int]] = {}
    for part in filter(None, text.split(";")):
        layer, _, numbers = part.partition(":")
        found[layer] = [int(n) for n in numbers.split(",") if n]
    return found


QUESTIONS: Mapping[str, Question] = {
    "runs": Question(lambda answers, asked, watch: {"runs": answers.describe()}),
    "picture": Question(lambda answers, asked, watch: answers.picture(view_of(asked))),
    "at": Question(
        lambda answers, asked, watch: answers.at(view_of(asked), place_of(asked)),
        "box=y0,x0,y1,x1, or grouping=NAME and region=NUMBER",
    ),
    "map": Question(
        lambda answers, asked, watch: answers.map(
            view_of(asked),
            number(asked, "neuron"),
            number(asked, "width", 0),
            quick=asked.get("quick") == "1",
            watch=watch,
        ),
        "neuron=NUMBER; width=COLUMNS to have it averaged; quick=1 where a coarse one will do",
    ),
    "kernel": Question(
        lambda answers, asked, watch: answers.kernel(view_of(asked), number(asked, "neuron")), "neuron=NUMBER"
    ),
    "without": Question(
        lambda answers, asked, watch: answers.without(
            view_of(asked), chosen_of(asked.get("chosen", "")), asked.get("only") == "1"
        ),
        "chosen=LAYER:N,N;LAYER:N; only=1 for all but these",
    ),
    "group": Question(
        lambda answers, asked, watch: answers.group(view_of(asked), [int(n) for n in asked["neurons"].split(",")]),
        "neurons=N,N,...",
    ),
    "gram": Question(
        lambda answers, asked, watch: answers.gram(view_of(asked), number(asked, "neuron")), "neuron=NUMBER"
    ),
    "labels": Question(
        lambda answers, asked, watch: answers.labels(view_of(asked), asked["grouping"]), "grouping=NAME"
    ),
    "course": Question(
        lambda answers, asked, watch: answers.course(view_of(asked), number(asked, "neuron"), watch),
        "neuron=NUMBER",
        long=True,
    ),
    "unique": Question(lambda answers, asked, watch: answers.unique(view_of(asked), watch), long=True),
    "heat": Question(lambda answers, asked, watch: answers.heat(view_of(asked), watch), long=True),
    "density": Question(
        lambda answers, asked, watch: answers.density(view_of(asked), float(asked["area"]), watch),
        "area=SHARE between 0 and 1",
        long=True,
    ),
    "principal": Question(
        lambda answers, asked, watch: answers.principal(view_of(asked), min(12, number(asked, "count")), watch),
        "count=NUMBER, 12 at most",
        long=True,
    ),
}
"""Every question by its name in the address; :mod:`xinc.explore.answers` says what is in the answers."""


@dataclass(frozen=True)
class Door:
    """Which requests are answered.

    Attributes:
        port: that the server listens on.
        token: that the page's address carries.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def refusal(self, request: Request, *, shown: bool = False) -> str | None:
        """Why a request is not answered; None if it is.

        Args:
            request: of anyone.
            shown: whether it is for the page itself, which a notebook of another port may hold in a frame: only who
                knows the token can.
        """
        hosts = {f"{name}:{self.port}" for name in NAMES}
        if request.headers.get("host") not in hosts:
            return "this server answers to its own address only"
        origin = request.headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in hosts}:
            return "another page asks; only this server's own page may"
        if not shown and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "another page asks; only this server's own page may"
        given = request.headers.get("x-xinc-token") or request.query_params.get("token", "")
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return "the address lacks the right token; open the address that xinc explore printed"
        return None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.port}/?token={self.token}"


def application(answers: Answers, door: Door) -> Starlette:
    """The ASGI application.

    Args:
        answers: to the page's questions.
        door: who may ask.
    """
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    lanes = {long: Lane(f"xinc-explore-{'long' if long else 'quick'}") for long in (False, True)}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        yield
        for lane in lanes.values():
            lane.stop()

    async def page(request: Request) -> Response:
        refused = door.refusal(request, shown=True)
        if refused:
            return HTMLResponse(
                f'<!doctype html><title>xinc</title><link rel="icon" href="data:,"><p>{refused}.', 403, HEADERS
            )
        return HTMLResponse(live_page(door.token), headers=HEADERS)

    async def answer(request: Request) -> Response:
        if refused := door.refusal(request):
            return JSONResponse({"error": refused}, 403, HEADERS)
        question = QUESTIONS.get(request.path_params["name"])
        if question is None:
            return JSONResponse({"error": f"no such question; there are {', '.join(QUESTIONS)}"}, 400, HEADERS)
        asked = dict(request.query_params)

        def work(watch: Watch) -> bytes:
            return pack(question.answer(answers, asked, watch))

        try:
            block = await _while_connected(request, lanes[question.long].ask(work, ahead=asked.get("ahead") == "1"))
        except (XincError, IndexError, ValueError) as fault:
            return JSONResponse({"error": _line(fault)}, 400, HEADERS)
        except KeyError as fault:
            return JSONResponse({"error": f"the address lacks {fault.args[0]}="}, 400, HEADERS)
        except FileNotFoundError as fault:
            return JSONResponse({"error": f"{fault.filename} is gone; was the run moved or deleted?"}, 400, HEADERS)
        except Exception as fault:
            return JSONResponse({"error": f"{type(fault).__name__}: {_line(fault)}"}, 500, HEADERS)
        if block is None:
            return Response(status_code=499)
        return Response(block, media_type="application/octet-stream", headers=HEADERS)

    return Starlette(routes=[Route("/", page), Route("/api/{name}", answer)], lifespan=lifespan)


HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}


def _line(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0]


async def _while_connected(request: Request, answer: Any) -> bytes | None:
    """The answer; None, and the work is given up, where the browser went away before."""
    work = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_disconnected(request))
    done, _ = await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if work in done:
        result: bytes = work.result()
        return result
    work.cancel()
    return None


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def bind(port: int | None) -> socket.socket:
    """A socket on this machine: at ``port``, or, where None, at the usual one or the next that is free.

    Raises:
        RunError: the port is taken.
    """
    tried = [port] if port is not None else [*range(PORT, PORT + 20), 0]
    for number in tried:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
        except OSError:
            listening.close()
            continue
        return listening
    raise RunError(f"port {port} is in use; choose another with --port, or leave it out")


@dataclass(eq=False)
class Served:
    """A server of the page, not yet running.

    Attributes:
        address: of the page.
        run: serve until told to stop.
        stop: end it.
    """

    address: str
    run: Callable[[], None]
    stop: Callable[[], None]

    @classmethod
    def of(cls, answers: Answers, port: int | None = None) -> Served:
        """Listen.

        Args:
            answers: to the page's questions.
            port: None for the usual one, or the next that is free.

        Raises:
            RunError: the port is taken.
        """
        import uvicorn

        listening = bind(port)
        answers.describe()  # what every page asks first is known before anyone is told to open one
        door = Door(listening.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(application(answers, door), log_level="warning", lifespan="on"))
        listening.listen()

        def stop() -> None:
            server.should_exit = True

        return cls(door.address, lambda: server.run(sockets=[listening]), stop)
