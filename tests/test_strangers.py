"""Runs of strangers: what they hold is neither obeyed, nor followed, nor counted to the end."""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shlex
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_events import (
    begun_as,
    epoch_done,
    forge,
    journal_lines,
    open_journal,
    proposed,
    run_info,
    started,
    study_settings,
)
from made_runs import final_test, make_run, search, sweep
from test_checkpoints import CHECKPOINT

from mnist_lab import cli, space, study
from mnist_lab.errors import LabError, printable
from mnist_lab.rundir import RunDir
from mnist_lab.words import command

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# Colour, bell, a second line, "return", C1's CSI, right-to-left, a line end of Unicode, nothing.
BAD = "\x1b[31mred\x07\b\nsecond\rover\x9b31m\u202egnp\u2066\u2028next\u200b\x7f"
SHOWN = "\\x1b[31mred\\x07\\x08 second over\\x9b31m\\u202egnp\\u2066 next\\u200b\\x7f"


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the command says that refuses a run, in one line."""
    assert cli.main(list(map(str, words))) in {1, 2}
    line = capsys.readouterr().err
    assert [word.partition(":")[0] for word in line.splitlines()] == ["error", "hint"]
    return line


# --- texts


def test_a_text_is_shown() -> None:
    """What a terminal would obey, or nobody would see, is escaped; letters of any script stay."""
    assert printable(BAD) == SHOWN == printable(SHOWN)
    for text in ("1.2 × 3 – ü 数据", "a  b", ""):
        assert printable(text) == text
    assert printable("a\u00a0b\u3000c") == "a b c"
    assert str(LabError(f"no {BAD}.json")) == f"no {SHOWN}.json"


def test_no_text_of_a_stranger_is_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever shows a run shows no control character of its records, its names or its errors."""
    path = search(tmp_path / BAD)
    run = RunDir(path)
    info = json.loads(run.run.read_bytes())
    info["versions"] = info["machine"] = {BAD: BAD}
    info["command"] = f"rm -rf ~ {BAD}"
    info["data"] |= dict.fromkeys(("name", "source", "notice"), BAD) | {"digests": {BAD: BAD}}
    run.run.write_text(json.dumps(info), encoding="utf-8")
    lines = journal_lines(run)[1:]
    for line in lines:
        line |= {key: BAD for key in ("worker", "reason") if key in line}
    forge(run, [begun_as(run), *lines])
    monkeypatch.setenv("COLUMNS", "500")
    seen = [study.load_run(path)._repr_html_(), repr(study.load_run(path))]
    with run.locked():
        for words in ("status", "status --json", "plot", "report", "export --to csv --to latex"):
            assert cli.main([*words.split(), str(path)]) == 0
            seen += capsys.readouterr()
    seen += [file.read_text() for end in ("csv", "tex") for file in path.rglob(f"*.{end}")]
    seen += [run.report.read_text(encoding="utf-8").partition("<script")[0]]
    run.run.write_text(json.dumps(info | {BAD: 1}), encoding="utf-8")
    assert cli.main(["status", str(path), "--debug"]) == 2
    seen += capsys.readouterr()
    for text in seen:
        assert [sign for sign in text if not sign.isprintable() and sign not in "\n\r"] == []
    assert SHOWN in "".join(seen)


@pytest.mark.parametrize("make", [sweep, search, final_test])
def test_continue_is_made_from_the_settings(
    make: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` proposes the command that the settings make, never the one in run.json."""
    run = RunDir(make(tmp_path / "my run; reboot"))
    info = run.read_info()
    data = info.data.model_copy(update={"source": "it's;reboot"})
    run.write_info(info.model_copy(update={"state": "stopped", "command": "reboot", "data": data}))
    assert cli.main(["status", str(run.path)]) == 0
    line = capsys.readouterr().out.partition("continue: ")[2].partition("\n")[0]
    *_, last = shlex.split(line.partition("| ")[2] or line)
    words = shlex.split(line)
    assert last == f"--out={run.path}"
    assert "--data=it's;reboot" in words
    assert f"mnist-lab {info.settings.experiment}" in line
    assert not {"reboot", "--space=/dev/stdin"} & set(words)


def test_a_space_of_ones_own_is_in_the_run(tmp_path: Path) -> None:
    """Where a search wrote its space that file is `--space`, and gives the same settings."""
    path = Path(__file__).parents[1] / "configs" / "wide-space.json"
    wide = space.to_dict(space.read_space(path))
    run = RunDir(search(tmp_path / "s", space_file=wide))
    settings = run.read_info().settings
    assert "printf %s" in command(settings, "x")
    run.write_hpbandster(wide, [{}] * 12, run.read_trials())
    assert f"--space={run.space}" in command(settings, "x", space=run.space)
    assert space.to_dict(space.read_space(run.space)) == settings.space


# --- files


def sparse(path: Path) -> None:
    """A file of a terabyte that takes no room."""
    path.touch()
    os.truncate(path, 2**40)


def put(kind: str, path: Path, target: Path) -> None:
    """Something that is no file of a run, in the place of one."""
    if path.is_file():
        path.unlink()
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(target),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
        "sparse": lambda: sparse(path),
    }
    make[kind]()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device", "sparse"])
@pytest.mark.parametrize("name", ["run.json", "journal.jsonl"])
def test_what_is_no_file_of_a_run(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is neither read nor waited for nor written: one line names it."""
    path = sweep(tmp_path / "run")
    target = tmp_path / name
    target.write_bytes((path / name).read_bytes() + b"torn")
    before = target.read_bytes()
    put(kind, path / name, target)
    assert str(path / name) in refusal(capsys, "status", path)
    if name == "journal.jsonl":
        with pytest.raises(LabError, match="journal"):
            open_journal(RunDir(path))
    assert target.read_bytes() == before


def test_no_folder_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither checkpoints nor exports nor HpBandSter's files go through a link, nor are removed."""
    run = RunDir(sweep(tmp_path / "run"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = elsewhere / "trial-00001.checkpoint"
    kept.write_bytes(b"{}")
    (elsewhere / ".a.json.1-0123abcd").touch()
    for name in ("checkpoints", "hpbandster", "export"):
        (run.path / name).symlink_to(elsewhere)
    (run.path / "curves.json").symlink_to(kept)
    uses: list[Callable[[], object]] = [
        lambda: run.write_checkpoint(proposed(), CHECKPOINT),
        lambda: run.read_checkpoint(proposed()),
        lambda: run.drop_checkpoint(proposed()),
        lambda: run.write_hpbandster({}, [], []),
    ]
    for use in uses:
        with pytest.raises(LabError, match=r"run/(checkpoints|hpbandster) is a link"):
            use()
    with run.locked():
        run.drop_checkpoints()
    run.write_curves([])
    assert str(run.export) in refusal(capsys, "export", run.path, "--to", "csv")
    run.export.unlink()
    run.export.mkdir()
    (run.export / "course").symlink_to(elsewhere)
    assert str(run.export / "course") in refusal(capsys, "export", run.path, "--to", "course")
    assert {path.name for path in elsewhere.iterdir()} == {kept.name, ".a.json.1-0123abcd"}
    assert kept.read_bytes() == b"{}"


@pytest.mark.parametrize("name", [".lock", ".lock.lease", ".token.json"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_no_lock_is_followed(name: str, kind: str, tmp_path: Path) -> None:
    """Holding a run changes nothing outside of it, and whoever looks does not wait."""
    run = RunDir(sweep(tmp_path / "run", state="running"))
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    put(kind, run.path / name, target)
    uses: dict[str, Callable[[], Any]] = {".lock": run.read_state, ".lock.lease": run.writer}
    use = uses.get(name, run.read_token)
    with suppress(LabError) if name == ".lock.lease" else pytest.raises(LabError, match=name):
        use()
    with suppress(LabError), run.locked():
        pass
    assert target.read_bytes() == b"kept"


def test_a_journal_of_two_names(tmp_path: Path) -> None:
    """A backup of hard links does not change with the run."""
    run = RunDir(sweep(tmp_path / "run"))
    with run.journal.open("ab") as file:
        file.write(b"torn")
    (tmp_path / "backup").hardlink_to(run.journal)
    before = run.journal.read_bytes()
    journal = open_journal(run)
    journal.append(proposed(9))
    journal.close()
    assert (tmp_path / "backup").read_bytes() == before
    assert len(run.read_trials()) == 5


@pytest.mark.parametrize("made", [True, False])
def test_a_run_directory_may_be_a_link(made: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Onto a larger disk, say: it is written there, and set aside there."""
    target = tmp_path / "scratch"
    run = RunDir(tmp_path / "run")
    run.path.symlink_to(target)
    if made:
        target.mkdir()
    for _ in range(2):
        run.check_is_ours()
        run.create()
        run.write_info(run_info())
        run.set_aside()
    run.create()
    assert run.path.is_symlink()
    assert len(list(tmp_path.glob("scratch-before-*"))) == 2


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    """As root, `report --out /dev/null` would make a file of it; a link is written through."""
    path = sweep(tmp_path / "run")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LabError, match="not a regular file"):
        study.report([path], tmp_path / "pipe")
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    assert study.report([path], tmp_path / "link.html") == tmp_path / "page.html"
    assert (tmp_path / "link.html").is_symlink()


# --- what a kill leaves


def test_the_next_start_cleans_up(tmp_path: Path) -> None:
    """Half-written files, tokens and names go; what is not ours or is being drawn stays."""
    run = RunDir(sweep(tmp_path / "run"))
    gone = ["run.json", "journal.jsonl", "checkpoints/t.checkpoint", "hpbandster/configs.json"]
    gone += ["export/csv/trials.csv", "learning_curves.png"]
    dead = subprocess.Popen(["true"])  # noqa: S607
    dead.wait()
    left: list[Path | str] = [
        ".writable-0123abcd",
        ".lock.json",
        ".lock.lease.break.7.0123456789abcdef",
        ".token.json",
        *(Path(name).with_name(f".{Path(name).name}.{dead.pid}-0123abcd") for name in gone),
    ]
    stay = [f".report.html.{os.getppid()}-0123abcd", ".notes.txt", "thesis.1-0123abcd", ".a.b-c"]
    for name in (*left, *stay):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).touch()
    # Of a process that began later than the file, and has its number; and what no other writes.
    (again := run.path / f".report.html.{os.getpid()}-0123abcd").touch()
    (only := run.path / f".curves.json.{os.getppid()}-0123abcd").touch()
    os.utime(again, (0, 0))
    with run.locked():
        assert not [name for name in left if (run.path / name).exists()]
        assert not again.exists()
        assert not only.exists()
    assert not [name for name in stay if not (run.path / name).exists()]


@pytest.mark.parametrize("change", ["start", "pid=1099511627776", "pid=-1", "{"])
def test_a_reused_process_id_holds_nothing(change: str, tmp_path: Path) -> None:
    """A lease of a process that began at another time, or of none at all, holds nothing."""
    run = RunDir(sweep(tmp_path / "run", state="running"))
    file = run.path / ".lock.lease"
    said: list[str] = []
    with run.locked():
        lease = file.read_text(encoding="utf-8")
    start = re.findall(r"\nstart=\d+", lease)[0]
    earlier = f"\nstart={int(start[7:]) - 1}"
    damaged = re.sub(r"pid=\d+", change, lease)
    file.write_text(lease.replace(start, earlier) if change == "start" else damaged, "utf-8")
    began = time.monotonic()
    assert run.read_state()[0].state == "interrupted"
    with run.locked(said.append):
        assert said == []
        assert time.monotonic() - began < 5
    for living in (lease, lease.replace(start, "")):
        file.write_text(living, encoding="utf-8")
        assert (run.writer() or "").startswith(f"process {os.getpid()} on ")


# --- numbers and times


@pytest.mark.parametrize(
    ("file", "place", "value", "words"),
    [
        ("run.json", "settings.iters", 10**15, "settings.iters"),
        ("run.json", "settings.repeats", 10**15, "settings.repeats"),
        ("run.json", "settings.base.epochs", 10**18, "settings.base.epochs"),
        ("run.json", "settings.base.batch_size", 10**400, "settings.base.batch_size"),
        ("run.json", "settings.values", [-1.0], "-1 is too small; learning rates"),
        ("run.json", "settings.values", [0.1] * 60_000, "120,000 trials are too many"),
        ("run.json", "started", "tomorrow", "started: a time is RFC 3339 in UTC"),
        ("run.json", "ended", "0000-00-00", "ended: a time is"),
        ("run.json", "continued", "2026-01-02T03:04:05", "continued: a time is"),
        ("run.json", "spent_s", -1.0, "spent_s"),
        ("run.json", "machine", {"x": float("inf")}, "machine"),
        ("run.json", "data.n_test", -3, "data.n_test"),
        ("journal.jsonl", "time", "2026-13-02T03:04:05Z", ".proposed.time: a time is"),
        ("journal.jsonl", "trial", 10**12, "proposed.trial"),
        ("journal.jsonl", "seed", 2**63, "proposed.seed"),
        ("journal.jsonl", "id", [-1, 0, 0], "proposed.id.0"),
        ("journal.jsonl", "epoch.valid_error", 7.5, "epoch.valid_error"),
        ("journal.jsonl", "epoch.duration_s", 1e308, "epoch.duration_s"),
        ("journal.jsonl", "epoch.epoch", 10**18, "epoch.epoch"),
    ],
)
def test_absurd_values(file: str, place: str, value: Any, words: str, tmp_path: Path) -> None:
    """A value that nothing can be is refused by its file and field, at once."""
    path = sweep(tmp_path / "run")
    run = RunDir(path)
    lines = journal_lines(run)
    values = lines[1:] if file == "journal.jsonl" else [json.loads((path / file).read_bytes())]
    *above, last = place.split(".")
    part = values[2 if above == ["epoch"] else 0]
    for key in above:
        part = part[key]
    part[last] = value
    if file == "journal.jsonl":
        forge(run, lines)
    else:
        (path / file).write_text(json.dumps(values[0]), encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(LabError, match=rf"{file} .*{words}"):
        study.load_run(path)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            f"random-search --iters {10**15}",
            "is too large; iterations go from 1 to 100,000",
        ),
        (
            f"lr-sweep --repeats {10**15}",
            "is too large; repeats go from 1 to 100,000",
        ),
        (
            "lr-sweep --repeats 50000",
            "200,000 trials are too many: the limit is 100,000\nhint: ",
        ),
        (
            f"hyperband --iters 9 --max-epochs {10**18}",
            "is too large; epochs go from 0.000001 to 1,000,000",
        ),
        (
            "hyperband --iters 9 --min-epochs 1 --max-epochs 999999",
            "trials are too many: the limit is 100,000",
        ),
        (f"train --workers {10**12}", "is too large\nhint: the limit is 10,000"),
    ],
)
def test_absurd_wishes(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done is refused in words before anything is counted out."""
    began = time.monotonic()
    assert cli.main([*words.split(), "--dry-run", "--data", "sample"]) == 2
    assert line in capsys.readouterr().err
    assert time.monotonic() - began < 10


def test_the_most_is_shown_at_once(tmp_path: Path) -> None:
    """A search of as many brackets as there may be: nobody counts them one by one."""
    hyperband = study_settings(
        experiment="hyperband", values=None, iters=20_000, min_epochs=1, space={}
    )
    made = make_run(tmp_path / "run", hyperband, proposed(), started(), epoch_done())
    began = time.monotonic()
    assert hyperband.n_trials == 50_000
    assert "50000 trials" in repr(study.load_run(made))
    assert cli.main(["status", str(made)]) == 0
    assert time.monotonic() - began < 3


def test_matrices_that_do_not_agree(tmp_path: Path) -> None:
    """Repeats of a test that scored other classes, or mistakes beyond the images, are refused."""
    path = final_test(tmp_path / "run", repeats=2)
    lines = journal_lines(RunDir(path))
    for matrix, words in (
        ([[1]], "mixes tests with 1 and 10 classes"),
        ([[1, 2]], "as many columns"),
    ):
        lines[-1]["test"]["confusion"] = matrix
        forge(RunDir(path), lines)
        with pytest.raises(LabError, match=words):
            study.load_run(path)


# --- anything

ODD: Any = st.sampled_from(
    [
        *(0, -1, 1, 3, 10**6, 10**15, 2**63, 10**400, 0.0, -0.0, 7.5, 5e-324, 1e308, -1.0),
        *("", BAD, "tomorrow", "9999-12-31T23:59:59Z", "hyperband", "test", "lr-sweep", "failed"),
        *(math.nan, None, True, [], {}, [[1]], {"a": 1}),
    ]
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container in a JSON value with each of its keys."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    return [(value, key) for key in keys] + [one for key in keys for one in places(value[key])]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2), st.lists(ODD, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_any_damage_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, which: int, odd: list[Any], chance: random.Random
) -> None:
    """Whatever stands where in the records: shown, or refused; no traceback, and soon."""
    path = tmp_path_factory.mktemp("run") / "run"
    (sweep, search, final_test)[which](path)
    for value in odd:
        run = RunDir(path)
        is_journal = chance.random() < 0.5
        lines = journal_lines(run) if is_journal else [json.loads(run.run.read_bytes())]
        container, key = chance.choice([one for line in lines for one in places(line)])
        container[key] = copy.deepcopy(value)
        if is_journal:
            forge(run, lines)
        else:
            run.run.write_text(json.dumps(lines[0]), encoding="utf-8")
    formats = " ".join(f"--to {one}" for one in ("course", "csv", "optuna", "markdown", "latex"))
    for words in ("status", f"export {formats}", "plot"):
        began = time.process_time()
        assert cli.main([*words.split(), str(path)]) in {0, 1, 2}
        assert time.process_time() - began < 20
