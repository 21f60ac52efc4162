"""The pages say what is true: every command, every settings file, no broken link.

    python tests/test_docs.py

writes docs/commands.md, which is the commands' own help, and the numbers of the other pages from
their records (benchmarks/tables.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import click
import lab
import pytest
from click.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import tables
from works import PARTS

from mnist_lab.cli.commands import mnist_lab
from mnist_lab.config import TrainConfig, forward_multiplications
from mnist_lab.errors import ExitCode
from mnist_lab.words import describe, percent

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
TEXTS = [page.read_text(encoding="utf-8") for page in PAGES]
README = TEXTS[0]
COMMANDS = ROOT / "docs" / "commands.md"
SETTINGS = [
    f"configs/{path.name}" for path in sorted(ROOT.glob("configs/*.toml")) if path.stem != "smoke"
]


_SHARED = "Options that several commands share"
_SHARING = 5  # commands that have an option, in the same words
_OPTION = re.compile(r"^  -.*\n(?: {3}.*\n)*", re.MULTILINE)  # with its help
_EMPTY_GROUP = re.compile(r"^[A-Z].*:\n\n", re.MULTILINE)


def _help(*words: str) -> str:
    shown = CliRunner().invoke(mnist_lab, [*words, "-h"], prog_name="mnist-lab", terminal_width=100)
    return f"{shown.output.rstrip()}\n\n"


def commands_page() -> str:
    """The commands' help as a page; what several of them share stands there once."""
    helps = {name: _help(name) for name in mnist_lab.commands}

    def words(option: str) -> str:  # the columns differ in width
        return " ".join(option.split())

    having = {name: set(map(words, _OPTION.findall(text))) for name, text in helps.items()}
    n_having = Counter(chain.from_iterable(having.values()))
    shared = {option for option, n in n_having.items() if n >= _SHARING}

    def block(text: str, *, own: bool) -> str:
        kept = _OPTION.sub(lambda one: one[0] * ((words(one[0]) in shared) != own), text)
        return f"```text\n{_EMPTY_GROUP.sub('', kept).strip(chr(10))}\n```"

    def link(title: str) -> str:
        return f"[{title}](#{_SHARED.lower().replace(' ', '-')})"

    settings = ", ".join(f"[{name}](../{name})" for name in SETTINGS)
    about = (
        "Here you look up what each command and each option does. `mnist-lab COMMAND --help` "
        f"prints the same. {link(_SHARED)} stand at the end.\n\n"
        "A settings file (`--settings`) is TOML with the names of the options, underscores for "
        f"hyphens: {settings}. Options on the command line win."
    )
    parts = ["# Commands", about]
    groups = re.findall(r"^([A-Z]\w+):\n((?:  [a-z].*\n)+)", _help(), re.MULTILINE)
    for title, listed in groups:
        names = re.findall(r"^  ([a-z-]+)", listed, re.MULTILINE)
        parts.append(f"## {title}")
        trains = all(having[name] >= shared for name in names)
        if trains:
            parts.append(f"Each of these has all {link('shared options')}, too.")
        for name in names:
            usage, _, text = helps[name].partition("\n")
            parts.append("### " + usage.removeprefix("Usage: ").replace(" [OPTIONS]", ""))
            parts.append(block(text, own=True))
            if not trains:
                flags = re.findall(r"--[a-z-]+(?= )", " ".join(sorted(having[name] & shared)))
                parts.append(f"{link('Shared')}: {', '.join(f'`{flag}`' for flag in flags)}.")
    of_all = next(text for name, text in helps.items() if having[name] >= shared)
    parts += [f"## {_SHARED}", block(of_all[of_all.index("\nWhat to train:") :], own=False)]
    return "\n\n".join(parts) + "\n"


def test_the_page_of_commands_is_their_help() -> None:
    """Nobody has to write an option down twice."""
    assert COMMANDS.read_text(encoding="utf-8") == commands_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_numbers_are_those_of_the_records(page: Path) -> None:
    """A page and its records never differ: `python tests/test_docs.py` writes the numbers anew."""
    text = page.read_text(encoding="utf-8")
    assert tables.filled(text) == text
    marked = tables.MARKED.findall(text)
    assert text.count("<!--") == 2 * len(marked)
    # At the beginning of a line a comment would make HTML of the line, unless it stands alone.
    assert not re.search(r"^<!-- \w[^>]*-->.", text, re.MULTILINE)
    wrong = tables.MARKED.sub(lambda one: f"{one[1]}{one[3][:1]}7{one[4]}", text)
    assert tables.filled(wrong) == text


def test_a_comparison_needs_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that was recorded once is not shown; random search is compared when it is there."""
    recorded = tables.record("worth")["searches"]
    first, *others = (dict(one) for one in recorded if one["method"] != "random search")
    alone = first | {"method": "random search", "epochs": 300}
    known = tables.record("worth") | {"searches": [first, *others, alone]}
    monkeypatch.setattr(tables, "record", lambda _: known)
    assert "`random-search" not in tables.fast("worth")
    known["searches"].append(alone)
    assert "`random-search --iters 50 --epochs 6` | 2 | 300 |" in tables.fast("worth")
    assert "`hyperband` takes 10 % of random search's epochs" in tables.fast("worth")


def test_a_search_in_parts_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes count as one after the other, in the order of the search; all must be there."""

    def part(work: str, *errors: float) -> dict[str, Any]:
        trained = [{"valid_error": error, "seconds": 10.0} for error in errors]
        return {"work": work, "peer": "hpbandster", "wall_s": 60.0, "configurations": trained}

    runs = [part(work, 0.9, 0.8, 0.02, 0.02, 0.9) for work in PARTS]
    # 105 of 10,000 images, as `fit` says it in float32.
    runs[1] = part("search-6", 0.02, 0.02, 0.010500013828277588, 0.02, 0.02)
    monkeypatch.setattr(tables, "record", lambda _: {"runs": runs[::-1]})
    search = tables.script_search("peers")
    assert (search["seconds"], search["epochs"]) == (600, 300)
    assert search["improvements"] == [
        (20, 6, 0.9),
        (30, 12, 0.8),
        (40, 18, 0.02),
        (100, 48, 0.0105),
    ]
    del runs[-1]
    with pytest.raises(KeyError):
        tables.script_search("peers")


def test_beside_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search counts as low when its error is the script's or less, and says when it was."""

    def search(*improvements: tuple[float, float, float]) -> dict[str, Any]:
        head = {"method": "Hyperband", "date": "2026-01-02"}
        return head | {"seconds": 50.0, "epochs": 29, "improvements": list(improvements)}

    script = {"seconds": 1000.0, "epochs": 300, "improvements": [(400, 6, 0.013), (700, 90, 0.01)]}
    kept = tables.record("worth-avx2") | {
        "searches": [
            search((20, 9, 0.02), (40, 29, 0.01)),
            search((45, 29, 0.0101)),
            search((30, 22, 0.0089)),
        ]
    }
    monkeypatch.setattr(tables, "record", lambda _: kept)
    monkeypatch.setattr(tables, "script_search", lambda _: script)
    head, _, own, ours, *_ = tables.beside_script("worth-avx2", "peers-avx2").splitlines()
    assert "HpBandSter, one worker | 1 | 300 | 1,000 | 1.00 % | 100 % |" in own
    cells = dict(zip(head.split(" | "), ours.split(" | "), strict=True))
    assert (cells["script's time"], cells["as low"]) == ("5 %", "2 of 3")
    assert cells["s to 1.00 %"] == "40 (30 to never)"


def test_the_picture_is_of_a_recorded_search() -> None:
    """What the README shows a search to end with is in the record of the searches."""
    picture = (ROOT / "docs" / "terminal.svg").read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]+>", "", picture).replace("&#160;", " ")
    (one,) = (
        one
        for one in tables.record("worth-epyc")["searches"]
        if (one["method"], one["seed"]) == ("Hyperband", 2)
    )
    assert "$ mnist-lab hyperband --seed 2 --precision bfloat16" in shown
    assert f"Best validation error {percent(one['improvements'][-1][2])}" in shown
    assert describe(TrainConfig(**one["winner"]), without="epochs") in shown


def test_commands_on_the_pages_are_right() -> None:
    """Each command of a page is one that the program takes: its name, its options, their values."""
    shown = r"^ *(?:\.venv/bin/|\$ )?mnist-lab ([a-z].*)|`mnist-lab ([a-z][^`\n]*)`"
    pages = [*TEXTS, (ROOT / "results/reference/README.md").read_text(encoding="utf-8")]
    found = [one or other for page in pages for one, other in re.findall(shown, page, re.MULTILINE)]
    assert len(found) > 90
    for line in found:
        name, *words = shlex.split(re.split(r"  | [#>]", line)[0])
        if name == "batch-sweep":  # which a contributor adds, and another test does
            continue
        # A name alone speaks of the command, whose arguments another sentence gives.
        with contextlib.suppress(click.exceptions.Exit):
            mnist_lab.commands[name].make_context(name, words, resilient_parsing=not words)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    titles = re.findall(r"^#+ (.+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere() -> None:
    """No link in the README and the documentation is broken, to a page or to its heading."""
    more = [
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/performance/*.md"),
        *ROOT.glob("results/*/*.md"),
    ]
    links = [
        (page, *link.partition("#")[::2])
        for page in [*PAGES, *more]
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in link
    ]
    assert ROOT / "README.md" in {page for page, *_ in links}
    assert sum(bool(anchor) for *_, anchor in links) > 5
    for page, path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), f"{path} of {page.name}"
        assert not anchor or anchor in anchors(target), f"{path}#{anchor} of {page.name}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_every_page_can_be_reached(page: Path) -> None:
    """The README leads to each page of the documentation."""
    assert f"(docs/{page.name})" in README


def test_settings_files_are_named() -> None:
    """Each settings file and each space is on a page, but the one for tests only."""
    for path in ROOT.glob("configs/*.*"):
        assert any(f"configs/{path.name}" in page for page in TEXTS) != (path.name == "smoke.toml")


@pytest.mark.parametrize("code", list(ExitCode))
def test_exit_codes_are_on_their_page(code: ExitCode) -> None:
    """A script's author finds each exit code that the commands return."""
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert f"\n| {code.value} | " in page.split("## Exit codes")[1].split("\n## ")[0]


def test_numbers_of_the_readme_are_the_networks() -> None:
    """The parameter count is that of the layers, counted by hand."""
    config = TrainConfig()
    filters, area = config.num_filters, config.filter_size**2
    hidden = 7 * 7 * filters * 128 + 128
    count = (area * filters + filters) + (area * filters**2 + filters) + hidden + 128 * 10 + 10
    assert f"{count:,} parameters" in README
    assert forward_multiplications(config) > count


def test_the_experiment_of_the_contributing_page_works(tmp_path: Path) -> None:
    """Whoever takes its steps, here in a copy of the program, has a sweep and a report of it."""
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^   ```python\n(.*?)^   ```", page, re.DOTALL | re.MULTILINE)
    row, function = map(textwrap.dedent, blocks)
    program = tmp_path / "mnist_lab"
    shutil.copytree(ROOT / "src" / "mnist_lab", program)

    def edit(name: str, before: str, after: str) -> None:
        text = (program / name).read_text(encoding="utf-8")
        assert before in text
        (program / name).write_text(text.replace(before, after, 1), encoding="utf-8")

    edit("catalogue.py", '    "random-search": Exp', f'{row}    "random-search": Exp')
    edit("study/experiments.py", "def _sweep(", f"{function}\n\ndef _sweep(")
    edit("study/experiments.py", "__all__ = [", '__all__ = ["batch_sweep",')
    out = str(tmp_path / "run")
    searched = os.pathsep.join(map(str, (tmp_path, ROOT / "tests")))
    words = ("--values", "64,128", "--epochs", "2", "--data", "sample", "--out", out)
    for asked in (("batch-sweep", "--help"), ("batch-sweep", *words), ("report", out)):
        lab.run(*asked, PYTHONPATH=searched)
    run = json.loads((Path(out) / "curves.json").read_text(encoding="utf-8"))
    assert [trial["configuration"]["batch_size"] for trial in run["trials"]] == [64, 128]
    assert "Which batch size?" in (Path(out) / "report.html").read_text(encoding="utf-8")


if __name__ == "__main__":
    tables.main()
    COMMANDS.write_text(commands_page(), encoding="utf-8")
