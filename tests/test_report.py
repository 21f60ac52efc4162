"""The report: what it says, that nothing in it is trusted, how large it is, where it is put."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_events import begun_as, forge, journal_lines, study_settings
from made_runs import EVIL, UNUSUAL, by_a_stranger, final_test, make_run, search, sweep

from mnist_lab import cli, data, space, study
from mnist_lab.config import TrainConfig
from mnist_lab.errors import LabError, SettingsError
from mnist_lab.rundir import RunDir

LARGEST = 1_400_000  # bytes, of which plotly's script is 1,192,000


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and its words outside of scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words = ""
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        """Words."""
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words += data

    @property
    def figures(self) -> list[dict[str, Any]]:
        """The figures of each section, in the order of the page."""
        return [json.loads(one)["figures"] for one in self.scripts if one.startswith("{")]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


# --- what it says


def test_a_sweep_has_everything(tmp_path: Path) -> None:
    """Question, findings, figures, every trial, commands, versions and data are on the page."""
    page = Page(study.report([sweep(tmp_path / "lr-sweep")]))
    for words in (
        "Which learning rate?",
        "4 of 4 trials complete",
        "The best learning rate is 0.01, with a validation error of",
        "mnist-lab lr-sweep --values=0.1,0.01 --epochs=3 --repeats=2 --device=cpu",
        "3.11.0",
        "50,000 training, 10,000 validation, 10,000 test",
        "pool-7",
    ):
        assert words in page.words
    trials = [one["data-trial"] for one in page.all("tr") if "data-trial" in one]
    assert trials == list("2413"), "the best first"
    assert list(page.figures[0]) == ["curves", "parallel", "cost"]
    names = [one["href"] for one in page.all("a") if one["href"] == "./journal.jsonl"]
    assert len(names) == 1


def test_a_search_tells_every_fate(tmp_path: Path) -> None:
    """Failed, diverged and unfinished trials are in the table, and the best one is marked.

    Nobody writes a run whose process died: it is interrupted, as `status` says.
    """
    page = Page(study.report([search(tmp_path / "s")]))
    assert "9 of 12 trials complete (1 diverged, 1 failed, 1 unfinished)" in page.words
    for words in ("failed: its worker was killed", "1 of 3", "interrupted"):
        assert words in page.words
    assert [one.get("class") for one in page.all("tr")].count("best") == 1


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_test_has_its_error_and_matrix(tmp_path: Path, repeats: int) -> None:
    """Test error, Wilson's interval of each repeat, the confusion matrix; no parallel axes."""
    page = Page(study.report([final_test(tmp_path / "test", repeats=repeats)]))
    # Wilson's interval of 20 errors in 10,000.
    assert page.words.count("0.20 %0.13 to 0.31 %") == repeats
    assert "Which digit was taken for which" in page.words
    (cell,) = [one for one in page.all("td") if one.get("data-pair") == "4-9"]
    assert cell["style"] == "--share: 1.0"
    assert list(page.figures[0]) == ["curves"]
    assert "--fit-on=train+valid" in page.words


def test_any_number_of_trials(tmp_path: Path) -> None:
    """A search that has not begun, one trial, and fifty make a page."""
    for n in (0, 1, 50):
        path = tmp_path / str(n)
        search(path, n) if n else make_run(path, study_settings(**SEARCH, space=default_space()))
        page = Page(study.report([path]))
        assert len([one for one in page.all("tr") if "data-trial" in one]) == n


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    """No date and no chance is in it."""
    path = search(tmp_path / "s")
    assert study.report([path]).read_bytes() == study.report([path]).read_bytes()


def test_several_runs_are_compared(tmp_path: Path) -> None:
    """Best error with its interval, epochs, both sweeps side by side, the error for the epochs."""
    runs = [sweep(tmp_path / "a"), sweep(tmp_path / "b", repeats=1), search(tmp_path / "s")]
    out = study.report([*runs, final_test(tmp_path / "t")])
    assert out == tmp_path / "report.html"
    page = Page(out)
    assert "Wilson's for n = 1" in page.words
    assert "mean ± standard deviation" in page.words
    assert "images, after all decisions" in page.words
    assert "different data sets" not in page.words
    assert len(page.figures) == 5
    (lines,) = page.figures[0]["spending"]["choices"].values()
    assert [one["name"] for one in lines["traces"]] == ["a", "b", "s"]


def test_runs_are_told_apart(tmp_path: Path) -> None:
    """Errors on different images cannot be compared, and the page says so.

    Of runs of the same name the path is the label.
    """
    paths = [sweep(tmp_path / folder / "run") for folder in "ab"]
    other = RunDir(paths[1])
    info = other.read_info()
    changed = info.data.model_copy(update={"digests": {"train-images-idx3-ubyte": "0000"}})
    other.write_info(info.model_copy(update={"data": changed}))
    forge(other, [begun_as(other), *journal_lines(other)[1:]])
    page = Page(study.report(paths))
    assert "different data sets: their errors cannot be compared" in page.words
    (lines,) = page.figures[0]["spending"]["choices"].values()
    assert [one["name"] for one in lines["traces"]] == list(map(str, paths))


# --- the commands that make a run again


def default_space() -> dict[str, Any]:
    """The space that needs no file."""
    return space.to_dict(space.default_space())


WIDE = space.to_dict(space.read_space(Path(__file__).parents[1] / "configs" / "wide-space.json"))
SEARCH = {"experiment": "random-search", "values": None, "iters": 3}
HALVING = {"values": None, "iters": 2, "min_epochs": 1, "base": TrainConfig(epochs=3)}


@pytest.mark.parametrize(
    "values",
    [
        {"values": (0.1, 1e-05), "repeats": 3, "seed": 7, "precision": "bfloat16"},
        {"experiment": "filter-sweep", "values": (1, 4), "threads_per_worker": 2},
        {"experiment": "filter-sweep", "values": (1, 4), "base": TrainConfig(learning_rate=0.001)},
        SEARCH | {"space": default_space()},
        SEARCH | {"space": WIDE, "base": TrainConfig(epochs=2)},
        HALVING | {"experiment": "hyperband", "space": default_space()},
        HALVING | {"experiment": "bohb", "space": WIDE},
        {"experiment": "train", "values": None, "base": UNUSUAL},
        {"experiment": "test", "values": None, "base": UNUSUAL, "repeats": 2, "fit_on": "train"},
        {"experiment": "test", "values": None, "fit_on": "train+valid"},
    ],
    ids=lambda values: values.get("experiment", "lr-sweep"),
)
def test_the_commands_make_the_same_run(values: dict[str, Any]) -> None:
    """Typed into a shell they continue the run: its settings agree with theirs."""
    settings = study_settings(**values)
    info = data.load("sample").info.model_dump()
    path = make_run(Path("results/it's mine"), settings, data=info)
    page = Page(study.report([path])).words
    promise, _, shell = page.rpartition("Reproduce")[2].partition("Files:")[0].partition(".")
    same = "this command gives the same curves, however many workers there are"
    assert (same in promise) == (settings.experiment != "bohb"), "BOHB's proposals may differ"
    us = f"{shlex.quote(sys.executable)} -m mnist_lab"
    shell = re.sub(r"(^|\| )mnist-lab", lambda found: found[1] + us, shell.strip())
    shell += " --dry-run --json"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"] == settings.model_dump(mode="json")


# --- nothing in it is trusted


def test_nothing_of_a_stranger_is_markup(tmp_path: Path) -> None:
    """Of whatever his records hold, no element and no attribute comes; it is read as words."""
    page = Page(study.report([by_a_stranger(tmp_path / EVIL.replace("/", "|"))]))
    honest = Page(study.report([search(tmp_path / "honest")]))
    assert page.words.count("window.hit=1") > 10
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in honest.elements}
    assert len(page.scripts) == len(honest.scripts) == 3
    assert all(one["href"].startswith(("./", "#", "data:,")) for one in page.all("a"))  # type: ignore[union-attr]
    assert not [name for _, some in page.elements for name in some if name.startswith("on")]
    assert page.all("img") == []


def test_a_stranger_adds_no_command(tmp_path: Path) -> None:
    """What is to be typed comes from the settings; a path is one quoted word that a shell keeps."""
    path = sweep(tmp_path / "x; rm -rf ~", command="rm -rf ~")
    info = RunDir(path).read_info()
    hostile = {"source": "a\x1b[201~\n$(reboot)'; reboot", "is_mnist": False}
    changed = info.data.model_copy(update=hostile)
    RunDir(path).write_info(info.model_copy(update={"data": changed}))
    words = Page(study.report([path])).words
    line = next(line for line in words.splitlines() if line.startswith("mnist-lab"))
    assert shlex.split(line)[-2:] == [
        "--data=a\\x1b[201~ $(reboot)'; reboot",
        "--out=results/x; rm -rf ~",
    ]


def test_what_is_no_run_of_ours_is_refused(tmp_path: Path) -> None:
    """A search space with names of its own, or a folder without a run, is one line."""
    space_file = default_space()
    space_file["hyperparameters"][0]["name"] = EVIL
    with pytest.raises(SettingsError, match="a search cannot vary"):
        study.report([search(tmp_path / "s", 3, space_file=space_file)])
    with pytest.raises(LabError, match="is not a run"):
        study.report([tmp_path])


def test_the_policy_forbids_the_network_and_foreign_scripts(tmp_path: Path) -> None:
    """Only the two scripts that are there may run, and nothing is fetched."""
    page = Page(study.report([sweep(tmp_path / "s")]))
    (policy,) = (one["content"] for one in page.all("meta") if "http-equiv" in one)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("sha256-") == 2
    assert "http" not in policy
    assert "script-src 'unsafe" not in policy
    assert "unsafe-eval" not in policy
    assert not page.all("link")[1:]
    assert not [one for one in page.all("script") if "src" in one]


# --- size, place, command


@pytest.mark.proof
def test_the_page_stays_small(tmp_path: Path) -> None:
    """One copy of plotly and the rest: a search of fifty below 1.4 MB, each more by 0.15 MB."""
    paths = [search(tmp_path / f"s{number}", 50) for number in range(5)]
    assert study.report(paths[:1]).stat().st_size < LARGEST
    assert study.report(paths).stat().st_size < LARGEST + 4 * 150_000


def test_where_it_is_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the run; of several beside the first; or where it is told, in a new folder too.

    The command names the file and the next command; as JSON, the file alone.
    """
    first, second = sweep(tmp_path / "a"), sweep(tmp_path / "b")
    assert cli.main(["report", str(first)]) == 0
    printed = capsys.readouterr().out
    assert f"wrote {first}/report.html" in printed.replace("\n", "")
    assert "next: mnist-lab filter-sweep" in printed
    assert cli.main(["report", str(first), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [f"{first}/report.html"]}
    assert study.report([first, second]) == tmp_path / "report.html"
    assert study.report([first], Path("new/page.html")).exists()
    monkeypatch.chdir(first)
    study.report([Path(), Path("../b")], None)
    assert not list(first.glob("*.html"))[1:]
