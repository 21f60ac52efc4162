"""Which folder a run goes to: its settings decide, where nobody named one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lab
import pytest
from made_events import run_info, study_settings, whole_trial, write_events

from mnist_lab import cli, study
from mnist_lab.config import TrainConfig
from mnist_lab.errors import RunDirError, SettingsError
from mnist_lab.rundir import RunDir
from mnist_lab.rundir.choosing import Folder

DIGESTS = run_info().data.digests
THREE = study_settings(base=TrainConfig(epochs=3))
FOUR = study_settings(base=TrainConfig(epochs=4))
SEARCHES = [study_settings(experiment="random-search", values=None, iters=n) for n in range(9)[1:]]


def put(name: str, **info: Any) -> RunDir:
    """A run in `results`."""
    run_dir = RunDir(Path("results") / name)
    run_dir.create()
    run_dir.write_info(run_info(**info))
    return run_dir


def chosen(settings: Any = THREE, *names: str, **options: Any) -> tuple[str, str]:
    """The name of the folder that is chosen for these settings, and what is said about it."""
    digests = options.pop("digests", DIGESTS)
    folder = Folder(settings, digests, names=names or ["a"], **{"out": None} | options)
    found = folder.choose()
    return str(found.run_dir.path.relative_to("results")), found.why


def test_other_settings_have_a_folder_of_their_own() -> None:
    """The same settings find their run again, wherever it is; others the first free number."""
    assert chosen() == ("a", "")
    put("a", settings=FOUR)
    other = "results/a is another run (epochs 4 there, 3 now), so this run goes to results/a-2"
    assert chosen() == ("a-2", other)
    assert chosen(FOUR) == ("a", "")
    assert chosen(FOUR, digests={"a": "b"})[1].startswith("results/a is another run (another data")
    put("a-7", settings=THREE)
    put("a-b", settings=study_settings(seed=5))  # somebody named it
    put("a-before-20260102-030405", settings=study_settings(seed=5))
    assert chosen() == ("a-7", "using results/a-7, the run with these settings")
    assert chosen(study_settings(seed=5))[0] == "a-2"
    assert chosen(THREE.model_copy(update={"precision": "bfloat16"}))[0] == "a-2"
    bfloat16 = THREE.model_copy(update={"precision": "bfloat16"})
    assert chosen(bfloat16, any_precision=True)[0] == "a-7"


def test_searches_may_grow() -> None:
    """Of several runs that could go on it is the longest; none has so few."""
    put("a", settings=SEARCHES[1])
    put("a-2", settings=SEARCHES[4])
    for n, name in {1: "a-3", 2: "a", 3: "a", 5: "a-2", 8: "a-2"}.items():
        assert chosen(SEARCHES[n - 1])[0] == name


def test_what_is_taken() -> None:
    """A damaged run, one of another version, other files, a file: nothing of it is touched."""
    put("a").run.write_text("{", encoding="utf-8")
    newer = put("a-2").run
    newer.write_text(newer.read_text().replace('"format_version": 2', '"format_version": 99'))
    for path in ("results/a-3/thesis.tex", "results/a-5/.lock", "results/a-4"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    name, why = chosen()
    assert name == "a-5"
    assert why.startswith(
        "results/a holds a run that cannot be read (results/a/run.json is damaged ("
    )


def test_a_test_is_named_after_its_search() -> None:
    """Only where the usual folder is another's; then it is numbered like others."""
    names = ("test", "test-hyperband")
    assert chosen(THREE, *names)[0] == "test"
    put("test", settings=FOUR)
    assert chosen(THREE, *names)[0] == "test-hyperband"
    put("test-hyperband", settings=FOUR.model_copy(update={"seed": 5}))
    assert chosen(THREE, *names)[0] == "test-hyperband-2"
    put("test-3", settings=THREE)
    assert chosen(THREE, *names)[0] == "test-3"


def test_where_a_configuration_is_from() -> None:
    """The folder of a search, or the name of another file, as a part of a folder's name."""
    for path, origin in {
        "results/hyperband/best.json": "hyperband",
        "results/hyperband/../bohb/best.json": "bohb",
        "configs/my idea.v2.json": "my-idea.v2",
        "/best.json": "",
        ".json": "json",
        "x" * 200: "x" * 60,
    }.items():
        assert study.experiments._origin(Path(path)) == origin


@pytest.mark.parametrize(
    ("settings", "out", "name"),
    [
        (THREE, None, "a-2"),
        (study_settings(seed=5), None, "a"),
        (study_settings(seed=5), Path("results/a-2"), "a-2"),
    ],
)
def test_fresh_sets_aside_the_run(settings: Any, out: Path | None, name: str) -> None:
    """The named one, the one with these settings, else that in the usual folder; others stay."""
    put("a", settings=FOUR)
    put("a-2", settings=THREE)
    said: list[str] = []
    with Folder(settings, DIGESTS, out=out, names=["a"], fresh=True).hold(said.append) as (
        found,
        _,
    ):
        assert found.run_dir.path == Path("results", name)
        assert not found.run_dir.exists()
    (aside,) = Path("results").glob("*-before-*")
    assert RunDir(aside).read_info().settings == (FOUR if name == "a" else THREE)
    assert said == [f"results/{name} is set aside as {aside.name}"]


def test_a_named_folder_is_refused() -> None:
    """Whoever names a folder means that one: the difference, or who writes it, is shown."""
    out = put("a", settings=FOUR).path
    with pytest.raises(SettingsError, match="epochs 4 there, 3 now; --out starts"):
        Folder(THREE, DIGESTS, out=out, names=["a"]).choose()
    mine = Folder(FOUR, DIGESTS, out=out, names=["a"])
    with RunDir(out).locked(), pytest.raises(RunDirError, match="is writing"), mine.hold(print):
        pass


def test_a_run_that_begins_has_its_folder() -> None:
    """Who finds it held waits for its settings: the same are refused, others go elsewhere."""
    words = ["lr-sweep", "--data", "sample", "--workers", "1", "--values", "0.1"]
    processes = [
        lab.start(*words, "--epochs", epochs, FORMULA_SECONDS="1") for epochs in ("3", "4", "4")
    ]
    printed = [process.communicate(timeout=120)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert codes[0] == 0
    assert sorted(codes[1:]) == [0, 2]
    assert "is writing" in printed[codes.index(2)]
    epochs = [RunDir(path).read_info().settings.base.epochs for path in Path("results").iterdir()]
    assert sorted(epochs) == [3, 4]


def test_first_look_then_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """What the help proposes does not stand in the way of what comes after it."""
    run_dir = put("lr-sweep", settings=study_settings(values=(0.1,), base=TrainConfig(epochs=1)))
    write_events(run_dir, *whole_trial())
    words = ["lr-sweep", "--data", "sample", "--dry-run"]
    before = sorted(Path().rglob("*"))
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    assert "into results/lr-sweep-2" in printed.out
    assert printed.err.startswith("results/lr-sweep is another run (")
    assert printed.err.count("\n") == 1
    assert cli.main([*words, "--json"]) == 0
    assert '"out": "results/lr-sweep-2"' in capsys.readouterr().out
    assert study.lr_sweep(data="sample", dry_run=True).path == Path("results/lr-sweep-2")
    assert cli.main([*words, "--out", "results/lr-sweep"]) == 2
    assert sorted(Path().rglob("*")) == before  # a dry run writes nothing


def test_results_that_cannot_be_made() -> None:
    """It is said as for any folder."""
    Path("results").touch()
    with (
        pytest.raises((SettingsError, RunDirError), match="is, or lies below, a file"),
        Folder(THREE, DIGESTS, out=None, names=["a"]).hold(print),
    ):
        pass
