"""The server: who may ask, what they get, and what has changed since they got it."""

from __future__ import annotations

import asyncio
import errno
import hmac
import json
import math
import os
import secrets
import signal
import socket
import threading
import time
from contextlib import suppress
from importlib.resources import files
from ipaddress import ip_address
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.locks import Condition
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from mnist_lab.dashboard import pages
from mnist_lab.dashboard.watching import Runs, Watch
from mnist_lab.errors import Interrupted, LabError, SettingsError, Terminated
from mnist_lab.pages import asset
from mnist_lab.study.run import LOOK_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

# Whoever trains on the same cores goes first.
NICENESS = 5
# Reading and drawing take at most about one part in so many of a core, however long runs are.
_SPARING = 5
# A page compares so many runs at most.
MOST_COMPARED = 50
_CHUNK_BYTES = 2**18

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Server": "mnist-lab",
}
# How a file of a run is shown. Whatever it holds, it is in a sandbox and runs nothing.
_KINDS = {"png": "image/png", "svg": "image/svg+xml", "json": "application/json"}
_KINDS |= dict.fromkeys(("jsonl", "md"), "text/plain; charset=utf-8")
_SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def serve(folder: Path, *, host: str, port: int, ready: Callable[[str, str], None]) -> None:
    """Show all runs below a folder until somebody ends it.

    Args:
        folder: whose runs are shown; it may be made later.
        host: a name or address of this machine.
        port: 0: a free one.
        ready: is told the address, and the same with a key that opens it once, for a command line
            that others can read.

    Raises:
        SettingsError: there is no such address, or the port is taken.
        Interrupted, Terminated: a signal ended it.
    """
    try:
        sockets = bind_sockets(port, host or "?")  # tornado takes "" for all addresses
    except OSError as problem:
        raise _unusable(host, port, problem) from None
    os.nice(NICENESS)
    asyncio.run(_serve(folder, host, sockets, ready))


def _unusable(host: str, port: int, problem: OSError) -> SettingsError:
    if problem.errno == errno.EADDRINUSE:
        taken = f"--port: another program uses {port}"
        return SettingsError(taken, next_step="leave --port out to take a free one")
    if problem.errno == errno.EACCES:
        return SettingsError(
            f"--port: {port} is reserved for the system", next_step="take one from 1024 on"
        )
    return SettingsError(
        f"--host: {host!r} is no address of this machine ({problem.strerror})",
        next_step="leave --host out to serve this machine alone",
    )


async def _serve(
    folder: Path, host: str, sockets: list[socket.socket], ready: Callable[[str, str], None]
) -> None:
    port = sockets[0].getsockname()[1]
    hosts = {one.lower() for one in (host, "localhost", socket.gethostname())}
    site = _Site(folder, hosts, f"mnist-lab-{port}")
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    _end_on_signals(ended)
    server = HTTPServer(_application(site), max_body_size=0, max_header_size=2**15)
    server.add_sockets(sockets)
    name = socket.gethostname() if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared only
    name = f"[{name}]" if ":" in name else name
    ready(*(f"http://{name}:{port}/?token={key}" for key in (site.secret, site.once)))
    try:
        await asyncio.gather(ended, site.follow())
    finally:
        site.background.end()


def _end_on_signals(ended: asyncio.Future[None]) -> None:
    errors = {
        signal.SIGINT: Interrupted("the dashboard has ended", next_step="no run was touched"),
        signal.SIGTERM: Terminated("the dashboard was terminated"),
        signal.SIGHUP: Terminated("the dashboard ended with its terminal"),
    }

    def end(number: signal.Signals) -> None:
        if not ended.done():
            ended.set_exception(errors[number])

    for number in errors:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants it ignored
            asyncio.get_running_loop().add_signal_handler(number, end, number)


class _Background:
    """One thread for what takes long, so that requests are answered meanwhile."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._is_over = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._is_over:
            self._jobs.get()()

    def end(self) -> None:
        """Wait for the job at hand alone: Python cannot end while compiled code runs."""
        self._is_over = True
        self._jobs.put(lambda: None)
        self._thread.join()

    async def do(self, job: Callable[[], T]) -> T:
        """The job's result, or what it raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(set_it: Callable[[Any], None], value: Any) -> None:
            if not done.done():
                set_it(value)

        def work() -> None:
            try:
                result = job()
            except Exception as problem:  # noqa: BLE001 - whoever waits gets it
                loop.call_soon_threadsafe(tell, done.set_exception, problem)
            else:
                loop.call_soon_threadsafe(tell, done.set_result, result)

        self._jobs.put(work)
        return await done


class _Site:
    """What all requests share: the secret, the runs by the last look, and who waits for news."""

    def __init__(self, folder: Path, hosts: set[str], cookie: str) -> None:
        self.folder, self._hosts, self.cookie = folder, hosts, cookie
        self.secret, self.once = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.runs = Runs({})
        self.news = Condition()
        self.readers: set[_Events] = set()
        self._wanted = asyncio.Event()
        self._watch, self.background = Watch(folder), _Background()
        # The last sections that were drawn: by their keys the version, the HTML and the seconds.
        self._drawn: dict[tuple[str, ...], tuple[int, str, float]] = {}

    def knows_host(self, name: str) -> bool:
        """Whether a request's Host is one of ours: a stranger's name may lead here, too."""
        with suppress(ValueError):
            return bool(ip_address(name.strip("[]")))
        return name in self._hosts

    def knows(self, key: str) -> bool:
        """Whether this is the secret."""
        return hmac.compare_digest(key.encode(), self.secret.encode())

    def takes(self, key: str) -> bool:
        """Whether this is the key that opens the dashboard once."""
        fits = hmac.compare_digest(key.encode(), self.once.encode())
        self.once = secrets.token_urlsafe(32) if fits else self.once
        return fits

    async def look(self) -> Runs:
        """The runs by now."""
        runs = await self.background.do(self._watch.look)
        if runs.version > self.runs.version:
            self.runs = runs
            self.news.notify_all()
        return self.runs

    async def follow(self) -> None:
        """Look again and again, while somebody reads."""
        while True:
            await self._wanted.wait()
            if not self.readers:
                self._wanted.clear()
                continue
            runs = await self.look()
            if not runs.is_more:
                await asyncio.sleep(max(LOOK_S, _SPARING * runs.took_s))

    def add(self, reader: _Events) -> None:
        """Somebody reads."""
        self.readers.add(reader)
        self._wanted.set()

    def version(self, keys: tuple[str, ...]) -> int:
        """The look that last found one of these runs changed."""
        return max(
            (self.runs.rows[key].version for key in keys if key in self.runs.rows), default=0
        )

    async def section(self, names: Mapping[str, str]) -> str:
        """These runs, by key and name, as HTML; a LabError where one cannot be read."""
        keys = tuple(names)
        version = self.version(keys)

        def draw() -> str:
            if keys in self._drawn and self._drawn[keys][0] == version:
                return self._drawn[keys][1]
            began = time.thread_time()
            html = pages.section({key: (name, self._watch.run(key)) for key, name in names.items()})
            self._drawn.pop(keys, None)
            self._drawn[keys] = version, html, time.thread_time() - began
            for old in list(self._drawn)[:-4]:
                del self._drawn[old]
            return html

        return await self.background.do(draw)

    async def open(self, key: str, name: str) -> IO[bytes] | None:
        """A file of a run, to be read; None where its folder lists none of this name."""
        return await self.background.do(lambda: self._watch.open(key, name))

    def pause_s(self, keys: tuple[str, ...]) -> float:
        """How long whoever reads about these runs is left alone after news: drawing takes time."""
        drawn = self._drawn.get(keys)  # at once: the other thread draws meanwhile
        return _SPARING * drawn[2] if drawn else 0.0


class _Handler(RequestHandler):
    """Whoever asks must know the secret, and ask for an address of this machine."""

    def initialize(self, site: _Site) -> None:
        """Share the site."""
        self.site = site

    def set_default_headers(self) -> None:
        """Nothing is kept, framed, guessed or told to others."""
        for name, text in _HEADERS.items():
            self.set_header(name, text)

    def prepare(self) -> None:
        """Refuse strangers; exchange the secret of an address for a cookie."""
        if not self.site.knows_host(self.request.host_name):
            raise HTTPError(403, reason="Unknown host")
        if key := self.get_query_argument("token", ""):
            if not self.site.takes(key) and not self.site.knows(key):
                raise HTTPError(403)
            self.set_cookie(self.site.cookie, self.site.secret, httponly=True, samesite="Strict")
            self.redirect("/")
        elif not self.site.knows(self.get_cookie(self.site.cookie, "")):
            raise HTTPError(403)

    def write_error(self, status_code: int, **_: Any) -> None:
        """Say in a line what is wrong."""
        words = {
            403: "Open the address that mnist-lab dashboard printed: it holds a secret.",
            404: "There is no such page or run.",
        }
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {words.get(status_code, self._reason)}\n")

    def asked(self) -> tuple[str, ...]:
        """The keys of the runs that are asked for, each once; a 404 where one is none."""
        keys = tuple(dict.fromkeys(self.get_query_arguments("name")))
        if len(keys) > MOST_COMPARED:
            raise HTTPError(400, reason=f"At most {MOST_COMPARED} runs are compared")
        if not set(keys) <= self.site.runs.rows.keys():
            raise HTTPError(404)
        return keys


class _List(_Handler):
    async def get(self) -> None:
        """All runs."""
        runs = await self.site.look()
        self.finish(pages.listing(runs, self.site.folder))


class _Run(_Handler):
    async def get(self) -> None:
        """A run, or several compared; the section alone for a page that is there already."""
        await self.site.look()
        names = {key: self.site.runs.rows[key].name for key in self.asked()}
        if not names:
            raise HTTPError(404)
        version, is_part = self.site.runs.version, bool(self.get_query_arguments("part"))
        try:
            html = await self.site.section(names)
        except LabError as problem:
            if is_part:
                self.set_status(410)
                self.set_header("Content-Type", "text/plain; charset=utf-8")
            html = (
                problem.problem if is_part else pages.page(names, version, problem=problem.problem)
            )
        else:
            html = html if is_part else pages.page(names, version, content=html)
        self.finish(html)


class _Events(_Handler):
    async def get(self) -> None:
        """What changed since, of some runs or of all, for as long as somebody reads."""
        since = self.request.headers.get("Last-Event-ID") or self.get_query_argument("since")
        if not (since.isascii() and since.isdigit()):
            raise HTTPError(400)
        version, keys, told = int(since), self.asked(), -math.inf
        self.set_header("Content-Type", "text/event-stream")
        self.site.add(self)
        # Cancelled: the dashboard ends.
        with suppress(StreamClosedError, asyncio.CancelledError):
            await self.flush()
            while self in self.site.readers:
                news = self._news(keys, version)
                if not news or time.monotonic() < told + self.site.pause_s(keys):
                    await self.site.news.wait()  # for the next look
                    continue
                version, told = self.site.runs.version, time.monotonic()
                self.write(f"id: {version}\ndata: {json.dumps(news)}\n\n")
                await self.flush()

    def _news(self, keys: tuple[str, ...], since: int) -> Mapping[str, Any] | None:
        runs = self.site.runs
        if keys:
            return {"changed": True} if self.site.version(keys) > since else None
        rows = {key: row.html for key, row in runs.rows.items() if row.version > since}
        if not rows and runs.removed <= since:
            return None
        names = list(runs.rows) if runs.removed > since else None
        return {"rows": rows, "names": names, "tally": pages.tally(runs)}

    def on_connection_close(self) -> None:
        """Nobody reads any more."""
        self.site.readers.discard(self)
        self.site.news.notify_all()


class _File(_Handler):
    async def get(self) -> None:
        """A file of a run, from those that its folder lists."""
        key, _, quoted = self.request.path.removeprefix("/files/").rpartition("/")
        if key not in self.site.runs.rows:
            raise HTTPError(404)
        file = await self.site.open(key, os.fsdecode(unquote_to_bytes(quoted)))
        if file is None:
            raise HTTPError(404)
        kind = _KINDS.get(quoted.rpartition(".")[2])
        self.set_header("Content-Security-Policy", _SANDBOX)
        self.set_header("Content-Type", kind or "application/octet-stream")
        if kind is None:
            self.set_header("Content-Disposition", "attachment")
        with file, suppress(StreamClosedError):
            while chunk := file.read(_CHUNK_BYTES):
                self.write(chunk)
                await self.flush()


class _Asset(_Handler):
    def initialize(self, site: _Site, content: str, kind: str) -> None:  # type: ignore[override]
        """One of our own files."""
        super().initialize(site)
        self._content, self._kind = content, kind

    def get(self) -> None:
        """The style or a script, which a browser may keep as long as it is the same."""
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Content-Type", f"{self._kind}; charset=utf-8")
        self.finish(self._content)


class _Missing(_Handler):
    def prepare(self) -> None:
        """Tell strangers nothing else."""
        super().prepare()
        if not self._finished:
            raise HTTPError(404)


def _application(site: _Site) -> Application:
    own = files("mnist_lab.dashboard") / "assets"
    texts = {name: asset(name) for name in ("page.css", "page.js", "plotly-basic.min.js")}
    texts |= {one: (own / one).read_text("utf-8") for one in ("dashboard.css", "dashboard.js")}
    kinds = {"css": "text/css", "js": "text/javascript"}
    shared = {"site": site}
    return Application(
        [
            ("/", _List, shared),
            ("/run", _Run, shared),
            ("/events", _Events, shared),
            ("/files/.*", _File, shared),
            *(
                (
                    f"/assets/{name}",
                    _Asset,
                    shared | {"content": text, "kind": kinds[name.rpartition(".")[2]]},
                )
                for name, text in texts.items()
            ),
        ],
        default_handler_class=_Missing,
        default_handler_args=shared,
        log_function=lambda _: None,
    )
