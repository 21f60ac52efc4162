"""The architecture, read from the imports and from what a process has loaded; and the guards."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from made_events import study_settings, whole_trial
from made_runs import make_run

import mnist_lab

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(mnist_lab.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

# Who may import whom: each room only those before it.
LAYERS = [
    "errors",
    "catalogue",
    "config",
    "words",
    "records",
    "racing",
    "data",
    "rundir",
    "processes",
    "machine",
    "model",
    "training",
    "space",
    "search",
    "execute",
    "analysis",
    "views",
    "findings",
    "plots",
    "pages",
    "report",
    "export",
    "notebook",
    "forecast",
    "progress",
    "study",
    "dashboard",
    "cli",
]
# What trains, and what shows what was trained: neither imports the other.
TRAINING = {"data", "model", "training", "space", "search", "execute"}
SHOWING = {
    "analysis",
    "findings",
    "plots",
    "pages",
    "report",
    "views",
    "export",
    "notebook",
    "progress",
    "dashboard",
}

# Where a package may be loaded: in these rooms or modules. What is only a type is not loaded.
OWNERS = {
    "tensorflow": {"model", "training"},
    "keras": {"model", "training"},
    "hpbandster": {"search"},
    "distributed": {"execute"},
    "dask": {"execute"},
    "dask_jobqueue": {"execute"},
    "asyncssh": {"execute"},
    "ConfigSpace": {"space"},
    "matplotlib": {"plots"},
    "pandas": {"notebook"},
    "IPython": {"notebook"},
    "tensorboard": {"export.tensorboard"},
    "optuna": {"export.optuna"},
    "filelock": {"rundir"},
    "click": {"cli"},
    "cloup": {"cli"},
    "pooch": {"data"},
    "jinja2": {"pages"},
    "markupsafe": {"pages", "report"},
    "PIL": {"pages"},
    "tornado": {"dashboard"},
}

# Names of files that are not a run's, and why they are composed elsewhere.
OTHER_FILES = {
    ("model", "model.keras"),  # Keras tells the format by it, in a temporary folder
    ("export", ".json"),  # the course's own names
    ("report", "report.html"),  # the package's own
    *(("dashboard.pages", f"{name}.html") for name in ("row", "list", "run", "comparison", "page")),
    ("export", "table.md"),
}


class Import(NamedTuple):
    """One imported module by its full name; `at_run_time` unless it is only for types."""

    name: str
    at_run_time: bool


def module_name(path: Path) -> str:
    """A module's name within the package: `execute.pool`; a folder's is its own."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def room(name: str) -> str:
    """The room of a module: the first part of its name; the package's entry belongs to the cli."""
    first = name.partition(".")[0]
    return "cli" if first == "__main__" else first


@cache
def tree(path: Path) -> ast.Module:
    """The module's source, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[Import]:
    """Everything that a module imports, at its top or in its functions."""
    return set(_imports(tree(path), at_run_time=True))


def _imports(node: ast.AST, *, at_run_time: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, at_run_time) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide the room"
        assert node.module is not None
        yield Import(node.module, at_run_time)
        if node.module == "mnist_lab":
            yield from (Import(f"mnist_lab.{alias.name}", at_run_time) for alias in node.names)
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, at_run_time=at_run_time and not typing_only)


def rooms_imported(path: Path) -> set[str]:
    """The other rooms of this package that a module imports."""
    ours = {one.name.removeprefix("mnist_lab.") for one in imports(path)}
    return {room(name) for name in ours} & set(LAYERS) - {room(module_name(path))}


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """The texts in a module with their lines, parts of f-strings too, docstrings left out."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if id(node) in docstrings or not isinstance(node, ast.Constant):
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value


# --- rooms


def test_every_room_has_its_place() -> None:
    """A new room is put into the layers above, which is the time to think about its place."""
    assert {room(module_name(path)) for path in MODULES} - {"__init__"} <= set(LAYERS)


def test_the_page_has_the_rooms_in_this_order() -> None:
    """The documentation's table says who may import whom: by its order."""
    page = (SOURCE.parents[1] / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == LAYERS


def test_docstrings() -> None:
    """Each module says what it is for, in one line that ends."""
    firsts = {path: (ast.get_docstring(tree(path)) or "").partition("\n")[0] for path in MODULES}
    assert [path for path, first in firsts.items() if not first.endswith((".", "?"))] == []


def test_lower_rooms_never_import_higher_ones() -> None:
    """A room imports only rooms of the layers below its own, even for types; none the cli."""
    arrows = {(room(module_name(path)), name) for path in MODULES for name in rooms_imported(path)}
    arrows = {(own, name) for own, name in arrows if own != "__init__"}
    assert {one for one in arrows if LAYERS.index(one[1]) > LAYERS.index(one[0])} == set()


def test_training_and_showing_are_apart() -> None:
    """Nothing that draws can train, and nothing that trains can draw; the run directory joins."""
    for path in MODULES:
        own, others = room(module_name(path)), rooms_imported(path)
        assert not (own in SHOWING and others & TRAINING), path
        assert not (own in TRAINING and others & SHOWING), path


def test_owners_of_packages() -> None:
    """A package is loaded in its own room alone, and there it is."""
    found = {
        (one.name.partition(".")[0], module_name(path))
        for path in MODULES
        for one in imports(path)
        if one.at_run_time
    }
    assert OWNERS.keys() <= {package for package, _ in found}
    strangers = {
        (package, name)
        for package, name in found
        if package in OWNERS and not {name, room(name)} & OWNERS[package]
    }
    assert strangers == set()


def test_only_rundir_names_files() -> None:
    """No other room composes the name of a file of a run.

    A file name is a text without spaces that ends like one; with spaces it is a sentence, for a
    person who is told what to give or where to look.
    """
    pattern = re.compile(r"(\S*[^\s/])?\.(jsonl?|png|svg|md|keras|html)")
    found = {
        (module_name(path), text, line)
        for path in MODULES
        for line, text in literals(path)
        if pattern.fullmatch(text)
    }
    assert {"run.json", "journal.jsonl", "model.keras"} <= {
        text for name, text, _ in found if room(name) == "rundir"
    }
    others = {one for one in found if room(one[0]) != "rundir" and one[:2] not in OTHER_FILES}
    assert others == set()


# --- what a command loads

HEAVY = {
    *("tensorflow", "keras", "hpbandster", "distributed", "ConfigSpace", "matplotlib"),
    *("scipy", "numpy", "sklearn", "pandas", "pooch", "requests"),
}


def loaded(*arguments: str) -> set[str]:
    """The packages that Python loads when it is called so."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    names = re.findall(r"^import time: .*\| +(\S+)$", done.stderr, flags=re.MULTILINE)
    packages = {name.partition(".")[0] for name in names}
    assert "mnist_lab" in packages
    return packages


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A run with one finished trial."""
    return str(make_run(tmp_path / "lr-sweep", study_settings(), *whole_trial(), state="running"))


# What a command loads of what is heavy, and what it may; neither help nor status takes even NumPy.
LIGHT: list[tuple[str, set[str], set[str]]] = [
    ("--help", set(), set()),
    ("status RUN", set(), set()),
    ("lr-sweep --data sample --dry-run", set(), {"numpy"}),
    *((f"export RUN --to {to}", set(), {"numpy"}) for to in ("course", "csv", "tensorboard")),
    ("report RUN", set(), {"numpy", "scipy"}),
    ("plot RUN", {"matplotlib"}, {"numpy", "scipy"}),
    ("space --out pictures", {"matplotlib", "ConfigSpace"}, {"numpy", "scipy"}),
]


@pytest.mark.parametrize(("words", "takes", "may"), LIGHT, ids=[words for words, *_ in LIGHT])
def test_commands_are_light(run: str, words: str, takes: set[str], may: set[str]) -> None:
    """None but a training loads what trains, and none what draws but those that draw on paper."""
    given = [run if word == "RUN" else word for word in words.split()]
    assert loaded("-m", "mnist_lab", *given) & HEAVY - may == takes


def test_the_package_is_light() -> None:
    """To import it loads nothing heavy, not even NumPy."""
    assert loaded("-c", "import mnist_lab") & HEAVY == set()


def test_dashboard_is_light(run: str) -> None:
    """To list runs, and to show one, takes nothing that trains, and no matplotlib."""
    script = """
import sys
from pathlib import Path
from mnist_lab.dashboard import pages, server, watching
watch = watching.Watch(Path(sys.argv[1]))
assert watch.look().rows["lr-sweep"].state == "interrupted"
assert "trial" in pages.section({"lr-sweep": ("lr-sweep", watch.run("lr-sweep"))})
"""
    assert loaded("-c", script, str(Path(run).parent)) & HEAVY <= {"numpy", "scipy"}


def test_worker_is_light() -> None:
    """A worker trains without what Keras only takes along; and that stays importable."""
    script = """
import sys
from mnist_lab import machine
from mnist_lab.data import SAMPLE
from mnist_lab.execute.worker import UNWANTED, Trainer
from mnist_lab.training import open_trainer
arguments = {"source": SAMPLE, "digests": None, "precision": "float32", "device": "cpu"}
Trainer("", open_trainer, arguments, n_threads=1, versions=machine.versions()).load()
print("keras" in sys.modules, *(name in sys.modules for name in UNWANTED))
import pandas
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"] + ["False"] * 4


# --- the guards of conftest.py

OFFENDERS = '''
"""Tests that do what no test may do, and one that may."""
import os, signal, socket, subprocess, sys, urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "results"
FETCH = "import urllib.request as u; u.urlopen('http://example.org/mnist.npz', timeout=0.5)"

def test_socket():
    socket.create_connection(("192.0.2.1", 80), timeout=1)

def test_swallowed_socket():
    try:
        socket.create_connection(("192.0.2.1", 81), timeout=1)
    except BaseException:
        pass

def test_all_addresses():
    with socket.socket() as server:
        server.bind(("", 0))

def test_lookup():
    socket.getaddrinfo("example.org", 80)

def test_download():
    urllib.request.urlopen("http://example.org/mnist.npz")

def test_child_download():
    subprocess.run([sys.executable, "-c", FETCH], stderr=subprocess.DEVNULL)

def test_mkdir():
    RESULTS.mkdir()

def test_write():
    (RESULTS / "run.json").write_text("{}")

def test_rename(tmp_path):
    tmp_path.rename(RESULTS)

def test_child_in_repository():
    subprocess.run([sys.executable, "-m", "mnist_lab", "--help"], cwd=REPOSITORY)

def test_environment():
    os.environ["MNIST_LAB_DATA"] = "sample"

def test_signals():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def test_innocent(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "MNIST_LAB_DATA" not in os.environ
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert Path.cwd() == tmp_path
    assert not Path(os.environ["KERAS_HOME"]).exists()
    Path("results").mkdir()
    subprocess.run([sys.executable, "-c", ""], cwd=REPOSITORY, check=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    assert "tensorflow" not in sys.modules
'''

GUARDED = {
    "socket": "opens a socket to 192.0.2.1:80",
    "swallowed_socket": "opens a socket to 192.0.2.1:81",
    "all_addresses": "opens a socket to :0",
    "lookup": "looks up the host example.org",
    "download": "downloads: the data set comes from",
    "child_download": "starts a process that downloads",
    "mkdir": "writes to .*/results",
    "write": "writes to .*/results/run.json",
    "rename": "writes to .*/results",
    "child_in_repository": "runs .* whose results/ is the user's",
    "environment": "leaves MNIST_LAB_DATA changed",
    "signals": "leaves SIGTERM changed",
}


def test_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that leaves this machine or its own folder fails by what it did; the innocent pass."""
    tests = tmp_path / "repository" / "tests"
    tests.mkdir(parents=True)
    (tests / "conftest.py").write_bytes(Path(__file__).with_name("conftest.py").read_bytes())
    (tests / "test_offenders.py").write_text(OFFENDERS, encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "400")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rfEp", "--tb=no", "--color=no", tests],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^(?:FAILED|ERROR) \S+::test_(\w+) - (.*)$", done.stdout, re.MULTILINE)
    assert {name for name, _ in found} == GUARDED.keys()
    for name, message in found:
        assert re.search(f"guard: this test {GUARDED[name]}", message)
    assert re.search(r"^PASSED \S+::test_innocent$", done.stdout, re.MULTILINE)
    assert not (tmp_path / "repository" / "results").exists()
