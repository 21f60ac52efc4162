"""The dashboard: a real server, real requests; runs in progress, strangers' runs, strangers."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import lab
import pytest
from dashboards import Dashboard, dashboard
from made_events import epoch_done, finished, proposed, started, study_settings, write_events
from made_runs import EVIL, by_a_stranger, final_test, make_run, search, sweep

from mnist_lab import cli
from mnist_lab.dashboard import watching
from mnist_lab.dashboard.server import _Site
from mnist_lab.dashboard.watching import Runs
from mnist_lab.rundir import RunDir, runs_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of each kind, one of them in a folder within."""
    folder = tmp_path_factory.mktemp("runs")
    sweep(folder / "sweep", ended="2026-01-03T03:04:05.678Z")
    search(folder / "deep" / "search")
    final_test(folder / "test", repeats=2)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Dashboard]:
    """A dashboard of them."""
    with dashboard(folder) as made:
        yield made


# --- what is shown


def test_the_list_shows_every_run(served: Dashboard) -> None:
    """With its state, progress, best error and interval; the newest first."""
    lab.wait_for(lambda: next(iter(served.rows())) == "sweep")  # a slow machine reads them in parts
    rows = served.rows()
    assert rows.keys() == {"sweep", "deep/search", "test"}
    assert rows["sweep"] | {"when": ""} == {
        "run": "sweep",
        "state": "complete",
        "trials": "4/4",
        "time left": "–",
        "best error": "3.40 %",
        "test error": "–",
        "95 % interval": "–",
        "error by epoch": "lowest error by epoch: 5.30 to 3.30 %",
        "when": "",
        "experiment": "lr-sweep",
        "data": "MNIST",
    }
    assert rows["deep/search"]["state"] == "interrupted"
    assert rows["deep/search"]["trials"] == "11/12"
    assert rows["test"]["test error"] == "0.20 %"
    assert rows["test"]["best error"] == "–"


def test_the_state_is_that_of_status(
    served: Dashboard, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And so are the numbers."""
    assert cli.main(["status", str(folder), "--json"]) == 0
    for one in json.loads(capsys.readouterr().out)["runs"]:
        row = served.rows()[Path(one["out"]).relative_to(folder).as_posix()]
        assert row["state"] == one["state"]
        ended = one["trials"]["complete"] + one["trials"]["failed"]
        assert row["trials"] == f"{ended}/{one['trials']['planned']}"


def test_a_run_has_a_page(served: Dashboard) -> None:
    """With the shared section; several have one on which they are compared."""
    page = served.get("/run?name=deep/search").text
    assert "random-search on MNIST" in page
    assert page.count("data-trial=") == 12
    assert 'href="/files/deep/search/run.json"' in page
    compared = served.get("/run?name=sweep&name=test").text
    assert 'href="/run?name=test"' in compared
    assert "The error of a test is of the test images" in compared
    part = served.get("/run?name=sweep&part=1").text
    assert part.lstrip().startswith("<section")


def test_what_is_no_run_has_no_page(served: Dashboard) -> None:
    """Nor has a run that somebody deleted."""
    for path in (
        "/run",
        "/run?name=no",
        "/run?name=sweep&name=no",
        "/no",
        "/events?since=0&name=x",
    ):
        assert served.get(path).status == 404
    assert served.get("/events?since=-1").status == 400
    many = "&".join(f"name={number}" for number in range(51))
    assert "At most 50 runs are compared" in served.get(f"/run?{many}").text


def test_a_run_itself_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its own folder is given, however."""
    monkeypatch.chdir(folder / "sweep")
    with dashboard(Path()) as made:
        assert list(made.rows()) == ["sweep"]
        assert made.get("/files/sweep/run.json").status == 200


def test_runs_may_be_yet_to_come(tmp_path: Path) -> None:
    """Whoever starts it first sees the first run come."""
    with dashboard() as made:
        assert "No runs yet" in made.get("/").text
        sweep(tmp_path / "results" / "sweep")
        assert list(made.rows()) == ["sweep"]


# --- what changes


def begin(path: Path) -> RunDir:
    """A sweep of two values that has begun its first epoch."""
    begun = (proposed(1, learning_rate=0.1), started(1))
    return RunDir(make_run(path, study_settings(), *begun, state="running"))


def test_it_follows_a_run(tmp_path: Path) -> None:
    """Each epoch is seen, and its end, without asking again; and that a run is gone."""
    run = begin(tmp_path / "run")
    sweep(tmp_path / "other")
    with dashboard(tmp_path) as made, run.locked():
        assert made.rows()["run"]["state"] == "running"
        with made.events("/events?since=0") as news, made.events("/events?since=0&name=run") as own:
            assert next(news)["rows"].keys() == {"run", "other"}
            assert next(own) == {"changed": True}
            for epoch, error in ((1, 0.25), (2, 0.125)):
                write_events(run, epoch_done(1, epoch, error))
                told = next(news)
                assert told["rows"].keys() == {"run"}
                assert f"to {100 * error:.1f} %" in told["rows"]["run"]
                assert next(own) == {"changed": True}
            write_events(run, epoch_done(1, 3, 0.0625), finished(1))
            run.write_info(run.read_info().model_copy(update={"state": "complete"}))
            while "2 complete" not in told["tally"]:
                told = next(news)
            assert "6.25 %" in told["rows"]["run"]
            shutil.rmtree(tmp_path / "other")
            while told["names"] is None:
                told = next(news)
            assert told["names"] == ["run"]


def test_running_means_that_somebody_holds_the_lock(tmp_path: Path) -> None:
    """A run whose process was killed is not running, though no file says so."""
    run = begin(tmp_path / "run")
    with dashboard(tmp_path) as made:
        with run.locked():
            assert made.rows()["run"]["state"] == "running"
        assert made.rows()["run"]["state"] == "interrupted"
        with run.locked():
            run.write_info(run.read_info())  # as whoever continues it does
            assert made.rows()["run"]["state"] == "running"


def test_it_only_reads(folder: Path, served: Dashboard) -> None:
    """No file is written, and no lock held, whatever is looked at."""

    def files() -> dict[Path, tuple[int, bytes]]:
        found = (path for path in folder.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}

    before = files()
    with served.events("/events?since=0") as news:
        assert next(news)
        for path in ("/", "/run?name=test", "/run?name=sweep&name=deep/search"):
            assert served.get(path).status == 200
        assert files() == before
        for name in ("sweep", "test"):
            with RunDir(folder / name).locked():
                pass


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    """Of a journal that grew; the row is the same as by reading all of it."""
    run = begin(tmp_path / "run")
    watch, other = watching.Watch(tmp_path), watching.Watch(tmp_path)
    with run.locked():
        before = watch.look()
        assert watch.look().rows == before.rows
        content = run.journal.read_bytes()
        write_events(run, epoch_done(1, 1, 0.25))
        # What was read before is not looked at again.
        news = run.journal.read_bytes()[len(content) :]
        run.journal.write_bytes(re.sub(rb"[^\n]", b"x", content) + news)
        assert "25.0 %" in watch.look().rows["run"].html
        assert other.look().rows["run"].state == "unreadable"


def test_a_run_may_go_while_it_is_drawn(folder: Path) -> None:
    """Its page is drawn all the same, whatever the next look finds."""

    async def drawn() -> str:
        site = _Site(folder, set(), "cookie")
        await site.look()
        site.runs = Runs({})
        try:
            return await site.section({"sweep": "sweep"})
        finally:
            site.background.end()

    assert "lr-sweep on MNIST" in asyncio.run(drawn())


def test_journals_are_read_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are many, all runs are listed at once, and their results follow."""
    for number in range(3):
        sweep(tmp_path / f"run-{number}")
    monkeypatch.setattr(watching, "BATCH_S", 0.0)
    watch = watching.Watch(tmp_path)
    for n_read in (1, 2, 3):
        runs = watch.look()
        assert len(runs.rows) == 3
        assert sum("3.40 %" in row.html for row in runs.rows.values()) == n_read
        assert runs.is_more == (n_read < 3)


# --- runs of strangers


def test_a_bad_run_is_a_row_that_says_why(tmp_path: Path) -> None:
    """Broken, endless, a link, or not ours to read: the others are shown as ever."""
    sweep(tmp_path / "good")
    sweep(tmp_path / "broken")
    RunDir(tmp_path / "broken").journal.write_bytes(b"{}\n{}\n")
    sweep(tmp_path / "no-json")
    RunDir(tmp_path / "no-json").run.write_bytes(b"[" * 100_000)
    sweep(tmp_path / "long")
    os.truncate(RunDir(tmp_path / "long").journal, watching.MOST_JOURNAL_BYTES + 1)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    sweep(tmp_path / "link")
    RunDir(tmp_path / "link").run.unlink()
    RunDir(tmp_path / "link").run.symlink_to(secret)
    (tmp_path / "elsewhere").symlink_to("/")
    found = {
        "broken": "line 1 of .*journal.jsonl is not how a journal begins",
        "no-json": "run.json is damaged",
        "long": "has more than 67,108,864 bytes",
        "link": "is a link",
    }
    with dashboard(tmp_path) as made:
        rows = made.rows()
        assert rows["good"]["state"] == "complete"
        assert rows.keys() == {"good", *found}
        for name, why in found.items():
            assert rows[name]["state"] == "unreadable"
            assert re.search(why, rows[name]["run"])
            page = made.get(f"/run?name={name}")
            assert page.status == 200
            assert re.search(why, page.text)
            assert made.get(f"/run?name={name}&part=1").status == 410


def test_a_folder_that_is_not_ours_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a row, too, and has no page; root may read any, so the refusal is made here."""
    sweep(tmp_path / "good")
    (tmp_path / "closed").mkdir()

    def refusing(folder: Path, refused: Callable[[OSError], None]) -> Iterator[Path]:
        refused(PermissionError(errno.EACCES, "Permission denied", str(folder / "closed")))
        yield from runs_below(folder, refused)

    monkeypatch.setattr(watching, "runs_below", refusing)
    runs = watching.Watch(tmp_path).look().rows
    assert {key: row.state for key, row in runs.items()} == {
        "good": "complete",
        "closed": "unreadable",
    }
    assert "Permission denied" in runs["closed"].html


def test_nothing_of_a_stranger_is_html(tmp_path: Path) -> None:
    """Wherever a run can hold a text, and in the names of folders and files."""
    evil = by_a_stranger(tmp_path / EVIL.replace("/", "|"))
    (evil / EVIL.replace("/", "|")).write_text("<script>window.hit=1</script>")
    sweep(tmp_path / os.fsdecode(b"not \xff text"))
    with dashboard(tmp_path) as made:
        page = made.get("/").text
        links = re.findall(r'<th scope="row"><a href="(.*?)">', page)
        assert len(links) == 2
        assert "not \\udcff text" in page
        together = "/run?" + "&".join(link.partition("?")[2] for link in links)
        for path in ("/", *(f"/{link}" for link in links), together):
            answer = made.get(path)
            assert answer.status == 200
            assert not re.search(r"<(img src=x|script>)", answer.text)
            assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
        files = re.findall(r'href="(/files/.*?)"', made.get(f"/{links[0]}").text)
        files += re.findall(r'href="(/files/.*?)"', made.get(f"/{links[1]}").text)
        assert len(files) > 4
        for path in files:
            answer = made.get(path)
            assert answer.status == 200
            assert answer.headers["Content-Security-Policy"].startswith("sandbox")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "html" not in answer.headers["Content-Type"]


# --- strangers


def test_without_the_secret_there_is_nothing(served: Dashboard) -> None:
    """Whatever is asked for, and however it is guessed."""
    other = re.sub("=.", "=!", served.cookie)
    for path in (
        "/",
        "/run?name=sweep",
        "/events?since=0",
        "/files/sweep/run.json",
        "/no",
        "/?token=",
    ):
        for cookies in ({}, {"Cookie": other}, {"Cookie": served.cookie.replace("lab-", "lab_")}):
            answer = served.ask(path, **cookies)
            assert answer.status == 403
            assert "sweep" not in answer.text
    assert served.ask("/assets/page.js").status == 403
    assert served.ask("/?token=no", Cookie=served.cookie).status == 403


def test_the_secret_becomes_a_cookie(served: Dashboard) -> None:
    """No script reads it, no other site sends it, and it leaves the address."""
    answer = served.ask(served.url.removeprefix(f"http://127.0.0.1:{served.port}"))
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    cookie = answer.headers["Set-Cookie"].split("; ")
    assert cookie[0] == served.cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert len(served.cookie.partition("=")[2]) >= 43  # 256 bits


def test_a_browser_is_given_a_key_for_one_time(tmp_path: Path) -> None:
    """Others see the command line that starts it."""
    opened, script = tmp_path / "opened", tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    script.chmod(0o700)
    with dashboard(tmp_path, BROWSER=str(script)) as made:
        lab.wait_for(opened.exists)
        url = opened.read_text().strip()
        assert url != made.url
        path = url.removeprefix(f"http://127.0.0.1:{made.port}")
        assert [made.ask(path).status for _ in range(2)] == [302, 403]
        assert made.get("/").status == 200
    opened.unlink()
    with dashboard(tmp_path, "--no-open", BROWSER=str(script)) as made:
        assert made.get("/").status == 200
    assert not opened.exists()


def test_names_of_strangers_lead_nowhere(served: Dashboard) -> None:
    """A page that has its own name lead here, once it is open, gets nothing (DNS rebinding)."""
    for host in (
        "evil.example",
        f"evil.example:{served.port}",
        "localhost.evil.example",
        "127.1.evil",
    ):
        assert served.ask("/", Cookie=served.cookie, Host=host).status == 403
    for host in ("localhost:1", f"127.0.0.1:{served.port}", "[::1]:9", socket.gethostname()):
        assert served.ask("/", Cookie=served.cookie, Host=host).status == 200


def test_no_request_leaves_the_folder(served: Dashboard, folder: Path) -> None:
    """A file is one of those that its run's folder lists: none above, below, hidden or a link."""
    run = folder / "sweep"
    (run / "link").symlink_to(folder / "test" / "run.json")
    (run / ".hidden").write_text("hidden")
    (folder / "beside").write_text("beside")
    assert served.get("/files/sweep/run.json").text == (run / "run.json").read_text()
    for path in (
        *("/files/", "/files/sweep", "/files/sweep/", "/files/sweep/.", "/files/sweep/.."),
        *("/files/sweep/link", "/files/sweep/.hidden", "/files/sweep/.lock", "/files/beside"),
        *("/files/../beside", "/files/sweep/../beside", "/files/sweep/..%2fbeside"),
        *("/files/sweep/%2e%2e/beside", "/files/%2e%2e/beside", "/files/..%2f..%2fetc/passwd"),
        *("/files//etc/passwd", "/files/sweep//etc/passwd", "/files/sweep/%2fetc%2fpasswd"),
        *("/files/sweep/run.json%00", "/files/sweep/../test/run.json", "/files/deep/run.json"),
        *("/assets/../server.py", "/assets/row.html", "/assets/", "/run?name=../sweep"),
    ):
        answer = served.get(path)
        assert (path, answer.status) == (path, 404)


def test_nothing_can_be_sent(served: Dashboard) -> None:
    """There is nothing to change."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert served.ask("/", method=method, Cookie=served.cookie).status == 405


# --- begin and end


@pytest.mark.usefixtures("can_be_hung_up")
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_it_ends_at_once(folder: Path, number: str, code: int) -> None:
    """Also while somebody reads."""
    with dashboard(folder) as made, made.events("/events?since=0"):
        began = time.monotonic()
        ended, said = made.end(signal.Signals[number])
        assert time.monotonic() - began < 10
        assert ended == code
        assert re.fullmatch(r"The dashboard [\w ;]+\n", said)


def test_what_it_refuses(
    folder: Path, served: Dashboard, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that is taken, an address of others, a folder that is not there."""
    for words, problem in {
        (str(folder), "--port", str(served.port)): f"--port: another program uses {served.port}",
        (str(folder), "--host", "192.0.2.1"): "--host: '192.0.2.1' is no address of this machine",
        (str(folder), "--host", ""): "--host: '' is no address of this machine",
        (str(folder / "no"),): f"no folder '{folder / 'no'}'",
    }.items():
        code = 2
        done = lab.run("dashboard", *words, code=code, command=lab.REAL)
        assert done.stderr.startswith(f"error: {problem}")
        assert "\nhint: " in done.stderr
    assert cli.main(["dashboard", "--port", "70000"]) == 2
    assert "--port" in capsys.readouterr().err
