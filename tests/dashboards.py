"""A dashboard in a process of its own, as a user starts it, and somebody who asks it."""

from __future__ import annotations

import json
import re
import signal
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import lab

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


class Dashboard(NamedTuple):
    """A dashboard that runs; `url` is the address that it printed."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    @property
    def cookie(self) -> str:
        """What a browser holds that opened the address."""
        return f"mnist-lab-{self.port}={urlsplit(self.url).query.removeprefix('token=')}"

    def ask(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask for a path just as it is, with these headers alone."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, text in headers.items():
            connection.putheader(name, text)
        connection.endheaders()
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read().decode())
        connection.close()
        return answer

    def get(self, path: str) -> Answer:
        """Ask as a browser does that opened the address."""
        return self.ask(path, Cookie=self.cookie)

    def rows(self) -> dict[str, dict[str, str]]:
        """The list: of each run, by its name, the text of each cell by the head of its column."""
        page = self.get("/").text
        heads = re.findall(r'<th scope="col">(.*?)</th>', page)
        rows = {}
        for row in re.findall(r"<tr data-run=.*?</tr>", page, re.DOTALL):
            cells = [re.sub(r"<[^>]*>", " ", one) for one in re.split(r"<t[hd]\b", row)[2:]]
            texts = [" ".join(one.partition(">")[2].split()) for one in cells]
            made = dict(zip(heads, texts, strict=True))
            rows[made["run"].partition(" ")[0]] = made
        return rows

    @contextmanager
    def events(self, path: str) -> Iterator[Iterator[Any]]:
        """What a stream of events says, one message after another."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Cookie": self.cookie})
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("Content-Type") == "text/event-stream"

        def messages() -> Iterator[Any]:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

        yield messages()
        connection.close()

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Its exit code after this signal, and what it said."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@contextmanager
def dashboard(*words: Path | str, **environment: str) -> Iterator[Dashboard]:
    """A dashboard of the runs below a folder, or below `results`; it ends without other words."""
    process = lab.start("dashboard", *map(str, words), command=lab.REAL, **environment)
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"http://\S+", said)
    assert found, process.communicate()
    running = Dashboard(process, found[0])
    try:
        yield running
        if process.poll() is None:
            code, said = running.end()
            assert (code, said) == (130, "The dashboard has ended; no run was touched\n")
    finally:
        process.kill()
        process.communicate()
