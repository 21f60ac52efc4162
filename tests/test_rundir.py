"""The run directory: names, atomic files, the journal, and what HpBandSter reads."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ConfigSpace import ConfigurationSpace
from hypothesis import given
from hypothesis import strategies as st
from made_events import (
    an_epoch,
    epoch_done,
    events,
    failed,
    finished,
    open_journal,
    promoted,
    proposed,
    run_info,
    started,
    study_settings,
    whole_trial,
    write_events,
)

from mnist_lab import space
from mnist_lab.config import TrainConfig, read_train_config
from mnist_lab.errors import RunDirError, SettingsError
from mnist_lab.records import Checkpoint, fold
from mnist_lab.rundir import RunDir, check_agreement, write_bytes, write_json
from mnist_lab.study import results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnist_lab.records import Event, Trial
    from mnist_lab.rundir import Follower


def names(folder: Path) -> set[str]:
    """Everything in a folder."""
    return {path.name for path in folder.iterdir()}


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: the kernel refuses, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- names


def test_names_of_all_files(run: RunDir) -> None:
    """A run that wrote everything has exactly the files of the contract."""
    write_events(run, *whole_trial())
    trials = run.read_trials()
    run.write_curves(trials)
    run.write_best(trials[0].configuration)
    run.write_findings("# Findings\n")
    run.write_test(results.test_result(trials))
    run.write_model(proposed(), b"zip")
    assert run.write_figure("incumbent", "png", b"picture") == run.path / "incumbent.png"
    run.write_figure("incumbent", "svg", b"picture")
    run.write_hpbandster(space.to_dict(space.default_space()), [{}] * len(trials), trials)
    found = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert found == {
        *("run.json", "journal.jsonl", "curves.json", "best.json", "findings.md", "test.json"),
        *("model.keras", "incumbent.png", "incumbent.svg", "hpbandster/configs.json"),
        *("hpbandster/results.json", "hpbandster/configspace.json"),
    }
    assert run.model.read_bytes() == b"zip"
    for path in (run.run, run.curves, run.test):
        assert json.loads(path.read_bytes())["format_version"] == 2


def test_curves_and_best(run: RunDir) -> None:
    """curves.json holds every trial as it is; best.json is what `test --config` reads."""
    trials = fold([*whole_trial(1), *whole_trial(2, learning_rate=0.5), proposed(3)])
    run.write_curves(trials)
    content = json.loads(run.curves.read_bytes())
    assert content["trials"] == [trial.model_dump(mode="json") for trial in trials]
    run.write_best(trials[1].configuration)
    assert json.loads(run.best.read_bytes()) == trials[1].configuration.model_dump()
    assert read_train_config(run.best) == trials[1].configuration


# --- atomic files


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A file that is not to be replaced, and at the end is whole, and alone."""
    path = tmp_path / "folder" / "run.json"
    path.parent.mkdir()
    write_json(path, ["old"])
    yield path
    assert json.loads(path.read_bytes()) == ["old"]
    assert names(path.parent) == {"run.json"}


def refuse(*_: object) -> None:
    """As the system does."""
    raise PermissionError(13, "Permission denied")


def test_failing_replace(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file cannot take the old one's place."""
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunDirError, match=r"cannot write .*run\.json .Permission denied.;"):
        write_bytes(old, b"new")


def test_full_disk(old: Path, run: RunDir) -> None:
    """The disk has no room, for a checkpoint neither; with room again it is replaced."""
    first, later = (Checkpoint(an_epoch(), state) for state in (b"first", b"x" * 10_000))
    run.write_checkpoint(proposed(), first)
    with full_disk(1000):
        with pytest.raises(RunDirError, match=r"run\.json .*; make room") as caught:
            write_json(old, ["new" * 1000])
        with pytest.raises(RunDirError, match=r"checkpoint .File too large.; make room"):
            run.write_checkpoint(proposed(), later)
        assert run.read_checkpoint(proposed()) == first
        assert len(names(run.checkpoints)) == 1
    assert caught.value.exit_code == 1
    run.write_checkpoint(proposed(), later)
    assert run.read_checkpoint(proposed()) == later


def test_interrupted_write(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(old, b"new")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_refuses_nan(old: Path, number: float) -> None:
    """What is not a number never gets into a file."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old, {"test_error": number})


def test_reader_sees_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the new content is on the disk, whoever reads sees the old one, and never a part."""
    path, seen, fsync = tmp_path / "run.json", [], os.fsync

    def look(number: int) -> None:
        seen.append(path.read_bytes())
        fsync(number)

    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", look)
    new = b"new" * 10**6
    write_bytes(path, new)
    assert seen == [b"old", new]  # when the file's content, then its name is put on the disk
    assert path.read_bytes() == new


@pytest.mark.parametrize("place", ["missing/run.json", "file/run.json", "folder"])
def test_unwritable_file(tmp_path: Path, place: str) -> None:
    """A file that cannot be made, for whatever reason, is an error of one line that names it."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunDirError, match=f"cannot write .*{place}"):
        write_bytes(tmp_path / place, b"new")
    assert names(tmp_path) == {"file", "folder"}


# --- run.json


def test_run_json_round_trip(run: RunDir) -> None:
    """What is written about a run is read back, for every kind of study."""
    sweep = study_settings(
        experiment="filter-sweep", values=(1, 3), repeats=2, precision="bfloat16"
    )
    search = study_settings(
        experiment="random-search", values=None, iters=50, space={"hyperparameters": []}
    )
    for settings in (study_settings(), sweep, search):
        info = run_info(settings=settings, state="complete", spent_s=12.5)
        run.write_info(info)
        assert run.read_info() == info


def test_no_run(tmp_path: Path) -> None:
    """A folder without a run.json is a usage error."""
    with pytest.raises(SettingsError, match=r"is not a run; give the folder"):
        RunDir(tmp_path).read_info()


def damaged(**changes: Any) -> bytes:
    """run.json after somebody edited it; None takes a key away."""
    content = json.loads(run_info().model_dump_json()) | changes
    return json.dumps({key: value for key, value in content.items() if value is not None}).encode()


OTHER = json.loads(study_settings().model_dump_json()) | {"experiment": "guess"}
DAMAGES = [
    *(b'{"format_version": 1, "sett', b"", b"\x89PNG\xff\xfe", b"[1]", b"[" * 100_000, b"{}"),
    *(
        damaged(speed=11),
        damaged(state=None),
        damaged(state="nearly done"),
        damaged(spent_s="long"),
    ),
    *(damaged(settings=OTHER), damaged(data={"name": "MNIST", "notice": ""})),
]


def test_damaged_run_json(run: RunDir) -> None:
    """A run.json that is not as it was written is refused by its name."""
    for content in DAMAGES:
        run.run.write_bytes(content)
        with pytest.raises(RunDirError, match=r"run\.json is damaged .*; restore"):
            run.read_info()


def test_unknown_format_version(run: RunDir) -> None:
    """A format of another version is refused by that version, before anything else is read."""
    for version in (0, 3, "1", None, [1]):
        run.run.write_text(json.dumps({"format_version": version, "whatever": 1}), encoding="utf-8")
        match = re.escape(f"has format version {version!r}, and this mnist-lab reads 1 to 2; use")
        with pytest.raises(RunDirError, match=match):
            run.read_info()


SEARCH = study_settings(experiment="random-search", values=None, iters=10)


def test_disagreement() -> None:
    """A run does not go on with other settings or data: the difference is shown, and two ways."""
    sweep, other = study_settings(), study_settings(base=TrainConfig(), precision="bfloat16")
    for before, after, difference in [
        (sweep, study_settings(seed=1), "seed 0 there, 1 now"),
        (sweep, study_settings(repeats=3), "repeats 1 there, 3 now"),
        (sweep, study_settings(values=(0.1,)), "values .*0.01.* there, .* now"),
        (sweep, other, "precision float32 there, bfloat16 now; epochs 3 there, 12 now;"),
        (sweep, sweep, "another data set"),
        (
            SEARCH,
            SEARCH.model_copy(update={"iters": 9}),
            "already has 10 iterations; ",
        ),
        (SEARCH, SEARCH.model_copy(update={"space": {"x": 1}}), "another search space;"),
        (SEARCH, SEARCH.model_copy(update={"iters": 11, "seed": 1}), "seed 0 there, 1 now;"),
        (sweep, SEARCH, "experiment lr-sweep .*; iters None there, 10 now"),
        (SEARCH, sweep, "experiment random-search .*; iters 10 there, None now"),
    ]:
        info = run_info(settings=before)
        digests = {"x": "y"} if before == after else info.data.digests
        with pytest.raises(
            SettingsError, match=f"this run .*{difference}.*(--out .*--fresh|--fresh or --out)"
        ):
            check_agreement(info, after, digests)


def test_agreement() -> None:
    """The same settings go on; a search may ask for more."""
    more = SEARCH.model_copy(update={"iters": 11})
    for before, after in [(study_settings(), study_settings()), (SEARCH, SEARCH), (SEARCH, more)]:
        info = run_info(settings=before)
        check_agreement(info, after, info.data.digests)


# --- the folder


def test_create_twice(tmp_path: Path) -> None:
    """The folder is made with those above it, is empty, and may be there already."""
    run = RunDir(tmp_path / "a" / "b")
    assert not run.exists()  # to name it is not to make it
    assert names(tmp_path) == set()
    for _ in range(2):
        run.create()
        assert names(run.path) == set()


def test_a_folder_for_a_run(tmp_path: Path) -> None:
    """A new folder, an empty one, one with a lock alone and one with a run are ours to write.

    One that holds something else is refused, and left alone.
    """
    RunDir(tmp_path / "new").check_is_ours()
    for name in (".lock", ".lock.lease"):
        RunDir(tmp_path).check_is_ours()
        (tmp_path / name).touch()
    RunDir(tmp_path).check_is_ours()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SettingsError, match=r"holds other files; give another --out"):
        RunDir(tmp_path).check_is_ours()
    assert names(tmp_path) == {".lock", ".lock.lease", "thesis.tex"}
    RunDir(tmp_path).write_info(run_info())
    RunDir(tmp_path).check_is_ours()


def test_a_run_killed_while_it_began(tmp_path: Path) -> None:
    """Whatever moment a run was killed in before it wrote run.json, the folder is still ours."""
    script = (
        "import os, signal, sys; from pathlib import Path; from mnist_lab.rundir import *\n"
        "run = RunDir(Path(sys.argv[1]))\n"
        "run.create()\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_json(run.run, {})"
    )
    path = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", script, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(names(path)) == 1  # the temporary file
    RunDir(path).check_is_ours()


def test_set_aside_keeps_everything(run: RunDir) -> None:
    """Setting aside renames: every byte is in the new place, and the old one is free; twice too."""
    places = set()
    for trial in (1, 2):
        run.create()
        run.write_info(run_info())
        write_events(run, *whole_trial(trial))
        before = {path.name: path.read_bytes() for path in run.path.iterdir()}
        aside = run.set_aside()
        assert not run.path.exists()
        assert {path.name: path.read_bytes() for path in aside.iterdir()} == before
        assert re.fullmatch(r"lr-sweep-before-\d{8}-\d{6}(-\w{4})?", aside.name)
        places.add(aside)
    assert names(run.path.parent) == {path.name for path in places}


def test_set_aside_the_folder_one_is_in(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out . --fresh` sets the run aside like any other path to it."""
    monkeypatch.chdir(run.path)
    aside = RunDir(Path()).set_aside()
    assert names(run.path.parent) == {aside.name}


def test_set_aside_where_nothing_can_be_renamed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be renamed is an error of one line, and stays."""
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(RunDirError, match=r"Permission denied"):
        run.set_aside()
    assert names(run.path) == {"run.json"}


# --- the journal


@given(st.lists(events, max_size=5))
def test_journal_round_trip(made: list[Event]) -> None:
    """Any events are read as they were appended, over two sessions as over one."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        write_events(run, *made[:2])
        write_events(run, *made[2:])
        assert run.read_events() == made
        assert len(run.journal.read_bytes().splitlines()) == 1 + len(made)


def test_each_event_is_on_the_disk_at_once(run: RunDir) -> None:
    """Who reads while a session writes sees every event that was appended."""
    journal = open_journal(run)
    for n, event in enumerate(whole_trial(), start=1):
        journal.append(event)
        assert len(run.read_events()) == n
    journal.close()


Lines = list[bytes]


def lines_of(run: RunDir) -> Lines:
    """The lines of its journal."""
    return run.journal.read_bytes().splitlines(keepends=True)


# What may happen to the lines of a journal, from 0, the first of which names the run.
CHANGES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "doubled": (lambda x: [*x[:5], *x[4:]], "line 6 of .* is missing: line 5 stands there"),
    "last doubled": (lambda x: [*x, x[-1]], "line 8 of .* is missing: line 7 stands there"),
    "lost": (lambda x: [*x[:4], *x[5:]], "line 5 of .* is missing: line 6 stands there"),
    "first lost": (lambda x: x[1:], "line 1 of .* is missing: line 2 stands there"),
    "swapped": (
        lambda x: [*x[:3], x[4], x[3], *x[5:]],
        "line 4 of .* is missing: line 5 stands",
    ),
    "changed": (lambda x: [*x[:4], x[4].replace(b"2.0", b"2.1"), *x[5:]], "line 5 .*was changed"),
    "checksum": (lambda x: [*x[:4], x[4].replace(b'"crc32":"', b'"crc32":"0'), *x[5:]], "line 5"),
    "emptied": (lambda x: [*x[:2], b"\n", *x[3:]], "line 3 of .* was changed or damaged"),
    "binary": (lambda x: [*x[:2], b"\xff\n", *x[3:]], "line 3 of .* was changed"),
    "without a chain": (lambda x: [*x[:2], b'{"event":"epoch"}\n', *x[3:]], "line 3 of"),
    "another file": (lambda _: [b"a,b\n", b"1,2\n"], "line 1 of .* is not how a journal begins"),
    "zeros first": (lambda x: [bytes(30), *x], "line 1 of .* was changed or damaged"),
}


@pytest.mark.parametrize(("change", "match"), CHANGES.values(), ids=CHANGES)
def test_lines_that_do_not_follow(run: RunDir, change: Any, match: str) -> None:
    """A line lost, doubled, moved or changed is named, with a way on that keeps those before it."""
    write_events(run, *whole_trial())
    run.journal.write_bytes(b"".join(change(lines_of(run))))
    with pytest.raises(RunDirError, match=match) as caught:
        run.read_trials()
    with pytest.raises(RunDirError, match=match):
        open_journal(run)
    n_kept = int(re.findall(r"delete line (\d+) and all after it", str(caught.value))[0]) - 1
    run.journal.write_bytes(b"".join(lines_of(run)[:n_kept]))
    assert run.read_events() == whole_trial()[: max(n_kept - 1, 0)]


DAMAGES_AT_THE_END: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda x: x[:-30] + bytes(5000),
    "zeros with an end of line": lambda x: x[:-30] + bytes(29) + b"\n",
    "changed": lambda x: x[:-30] + x[-30:].replace(b'"crc', b'"src'),
    "lines of rubbish": lambda x: x[:-30] + b"\n\xff\n{}\n",
}


@pytest.mark.parametrize("damage", DAMAGES_AT_THE_END.values(), ids=DAMAGES_AT_THE_END)
def test_damaged_end(run: RunDir, damage: Callable[[bytes], bytes]) -> None:
    """A damaged end is left out when read, and cut off with a notice when written to."""
    write_events(run, *whole_trial())
    damaged = damage(run.journal.read_bytes())
    n_damaged = len(damaged) - sum(map(len, lines_of(run)[:-1]))
    run.journal.write_bytes(damaged)
    assert run.read_events() == whole_trial()[:-1]
    assert run.journal.read_bytes() == damaged  # reading changes nothing
    journal = open_journal(run)
    told = rf"the end of the journal was damaged \({n_damaged:,} bytes, .* trained again"
    assert re.search(told, journal.repaired or "")
    journal.append(finished(diverged=True))
    journal.close()
    assert run.read_events() == [*whole_trial()[:-1], finished(diverged=True)]


def test_journal_of_another_run(run: RunDir) -> None:
    """The journal of another run, precision or data set is refused, and the difference is named."""
    data = run_info().data.model_copy(update={"digests": {"x": "y"}})
    bfloat16 = study_settings(precision="bfloat16")
    others: list[tuple[dict[str, Any], str]] = [
        ({"id": "another"}, "with the same settings"),
        ({"settings": bfloat16}, "precision bfloat16 in the journal, float32 in run.json"),
        ({"settings": study_settings(seed=1)}, "seed 1 in the journal, 0 in run.json"),
        ({"data": data}, "another data set"),
    ]
    for other, match in others:
        run.write_info(run_info(**other))
        write_events(run, *whole_trial())
        theirs = lines_of(run)
        run.write_info(run_info())
        with pytest.raises(RunDirError, match=f"belongs to another run .*{match}"):
            run.read_trials()
        run.journal.unlink()
    # Each of its lines is sound, but out of place in this one.
    write_events(run, *whole_trial())
    run.journal.write_bytes(b"".join([*lines_of(run)[:4], *theirs[4:]]))
    with pytest.raises(RunDirError, match=r"line 5 of .*belongs to another journal than"):
        run.read_trials()


def test_journal_of_format_version_1(run: RunDir) -> None:
    """One whose lines are events alone is read, and is chained once it is written to."""
    old = [event.model_dump_json().encode() + b"\n" for event in whole_trial()]
    run.journal.write_bytes(b"".join(old[:-1]) + old[-1][:-9])
    assert run.read_events() == whole_trial()[:-1]
    write_events(run, whole_trial()[-1])
    assert run.read_events() == whole_trial()
    assert len(run.journal.read_bytes().splitlines()) == 1 + len(old)
    skips = r"journal\.jsonl is damaged: trial 1 has epoch 3 after 1"
    for match, damaged in (
        ("line 5 of .*changed", [*old[:4], b"{}\n", old[5]]),
        (skips, [*old[:3], *old[4:]]),
    ):
        run.journal.write_bytes(b"".join(damaged))
        with pytest.raises(RunDirError, match=match):
            run.read_trials()


def test_unreadable_journal(run: RunDir) -> None:
    """A journal that can be neither read nor written is named, in one line."""
    run.journal.mkdir()
    for use in (lambda: open_journal(run), run.read_events):
        with pytest.raises(RunDirError, match=r"journal\.jsonl is a link, .*; put"):
            use()


def test_journal_on_a_full_disk(run: RunDir) -> None:
    """A line that had no room leaves no part of it, and none follows until it is opened again."""
    journal = open_journal(run)
    journal.append(proposed())
    before = run.journal.read_bytes()
    match = r"cannot write the journal .*journal\.jsonl .File too large.; make room"
    with full_disk(len(before) + 10):
        for _ in range(2):
            with pytest.raises(RunDirError, match=match):
                journal.append(started())
            assert run.journal.read_bytes() == before
    with pytest.raises(RunDirError, match=match):
        journal.append(epoch_done())
    journal.close()
    again = open_journal(run)
    again.append(started())
    again.close()
    assert again.repaired is None
    assert run.read_events() == [proposed(), started()]


# --- HpBandSter's and ConfigSpace's own readers


def test_hpbandster_reads_it(run: RunDir) -> None:
    """HpBandSter's reader finds a result for each budget of a trial, failed ones too, and the best.

    ConfigSpace's own finds the search space.
    """
    from hpbandster.core.result import logged_results_to_HBS_result  # takes a second

    exercise = space.default_space()
    drawn = [space.draw(exercise, seed) for seed in range(4)]
    events: list[Event] = [
        *whole_trial(1, 0.05, **drawn[0]),
        *(promoted(1), started(1, from_epoch=3), epoch_done(1, 4, 0.03), finished(1, budget=9)),
        *whole_trial(2, 0.04, **drawn[1]),
        *(promoted(2), started(2, from_epoch=3), failed(2, "its worker was killed")),
        *(proposed(3, **drawn[2]), started(3), epoch_done(3), failed(3, "its worker was killed")),
        *(proposed(4, **drawn[3]), started(4), epoch_done(4)),
    ]
    run.write_hpbandster(space.to_dict(exercise), drawn, fold(events))
    result = logged_results_to_HBS_result(str(run.hpbandster))
    configs_read = {id_: one["config"] for id_, one in result.get_id2config_mapping().items()}
    assert configs_read == {(number, 0, 0): values for number, values in enumerate(drawn)}
    runs = {(one.config_id[0], one.budget): one for one in result.get_all_runs()}
    losses = {(0, 3.0): 0.05, (0, 9.0): 0.03, (1, 3.0): 0.04, (1, 9.0): 1.0, (2, 3.0): 1.0}
    assert {key: one.loss for key, one in runs.items()} == losses
    assert result.get_incumbent_id() == (0, 0, 0)
    assert runs[2, 3.0].info == {"state": "CRASHED", "reason": "its worker was killed"}
    first = json.loads((run.hpbandster / "results.json").read_bytes().splitlines()[0])
    assert set(first[2].values()) == {1767323045.678}  # the time of all made events
    assert ConfigurationSpace.from_json(run.hpbandster / "configspace.json") == exercise


def test_hpbandster_folder_is_blocked(run: RunDir) -> None:
    """What is in the way of HpBandSter's folder is named in one line."""
    run.hpbandster.touch()
    with pytest.raises(RunDirError, match=r"cannot write .*hpbandster"):
        run.write_hpbandster(space.to_dict(space.default_space()), [], [])


# --- following


def followed(run: RunDir, journal: Follower) -> list[Trial]:
    """The trials after another look, which are those that reading everything finds."""
    journal.look(run.read_info().identity)
    trials = journal.trials()
    assert trials == run.read_trials()
    assert journal.n_events == len(run.read_events())
    return trials


def test_following_is_reading(run: RunDir) -> None:
    """However the journal grows, is torn, continued, replaced or lost between two looks."""
    journal = run.follow()
    assert followed(run, journal) == []
    events = [*whole_trial(1), *whole_trial(2)]
    for event in events:
        write_events(run, event)
        followed(run, journal)
    whole = run.journal.read_bytes()
    for torn in (whole + b'{"line":', whole[:-9], whole[:-9] + b"\n", b"", whole):
        run.journal.write_bytes(torn)
        followed(run, journal)
    write_events(run, *whole_trial(3))
    assert len(followed(run, journal)) == 3
    run.journal.unlink()
    assert followed(run, journal) == []
    write_events(run, *whole_trial(1, 0.5))
    assert followed(run, journal)[0].valid_error == 0.5
    for n in (3, 5, 6):  # of format version 1, whose lines are no chain
        lines = [event.model_dump_json() + "\n" for event in whole_trial(1)[:n]]
        run.journal.write_text("".join(lines))
        assert len(followed(run, journal)[0].epochs) == min(n - 2, 3)


def test_following_finds_what_reading_does(run: RunDir) -> None:
    """Damage in what is new, and an event that cannot follow."""
    journal = run.follow()
    write_events(run, *whole_trial(1))
    followed(run, journal)
    whole = run.journal.read_bytes()
    write_events(run, *whole_trial(2))
    lines = run.journal.read_bytes()[len(whole) :].splitlines(keepends=True)
    run.journal.write_bytes(whole + lines[0] + b"".join(lines[2:]))
    with pytest.raises(RunDirError, match=r"line 9 of .* is missing"):
        journal.look(run.read_info().identity)
    run.journal.write_bytes(whole)
    write_events(run, started(3))
    with pytest.raises(RunDirError, match="damaged: trial 3 is proposed not at all"):
        journal.look(run.read_info().identity)
    run.journal.write_bytes(whole)
    assert len(followed(run, journal)) == 1
