"""The command line: words to one call, errors to one line and the contract's exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mnist_lab import cli, study
from mnist_lab.cli.commands import mnist_lab
from mnist_lab.config import TrainConfig
from mnist_lab.study import experiments

ROOT = Path(__file__).parents[1]
BEST: dict[str, Any] = {
    "learning_rate": 0.0372,
    "batch_size": 95,
    "num_filters": 22,
    "filter_size": 5,
    "epochs": 6,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the command line would have called."""
    seen: list[tuple[str, dict[str, Any]]] = []
    for name in experiments.__all__:

        def call(*, _name: str = name, **kwargs: Any) -> None:
            seen.append((_name, kwargs))
            raise KeyboardInterrupt

        monkeypatch.setattr(study, name, call)
    return seen


def write(name: str, content: str) -> str:
    """A file in the current folder, which is the test's own."""
    Path(name).write_text(content, encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("words", "name", "kwargs"),
    [
        (
            "lr-sweep",
            "lr_sweep",
            {"values": [0.1, 0.01, 0.001, 0.0001], "epochs": 12, "repeats": 1},
        ),
        ("lr-sweep --values 1,0.5 --repeats 3", "lr_sweep", {"values": [1.0, 0.5], "repeats": 3}),
        ("filter-sweep", "filter_sweep", {"values": [1, 3, 5, 7], "epochs": 12, "repeats": 1}),
        (
            "filter-sweep --learning-rate 0.001",
            "filter_sweep",
            {"values": [1, 3, 5, 7], "learning_rate": 0.001},
        ),
        ("random-search --iters 7", "random_search", {"iters": 7, "epochs": 6, "space": None}),
        ("train --num-filters 8", "train", {"config": TrainConfig(num_filters=8)}),
        ("test --config best.json", "test", {"config": Path("best.json"), "fit_on": "train+valid"}),
        ("test --config best.json --epochs 2", "test", {"config": Path("best.json"), "epochs": 2}),
        (
            "train --momentum 0.9 --dropout 0.25 --weight-decay 1e-4 --epochs 2",
            "train",
            {"config": TrainConfig(momentum=0.9, dropout=0.25, weight_decay=1e-4, epochs=2)},
        ),
        ("train", "train", {"config": TrainConfig(), "workers": None, "seed": 0, "fresh": False}),
        (
            "train --out o --data d --device cpu --workers 3 --precision bfloat16 --seed 5 --fresh",
            "train",
            {
                "config": TrainConfig(),
                "out": Path("o"),
                "data": "d",
                "device": "cpu",
                "workers": 3,
                "precision": "bfloat16",
                "seed": 5,
                "fresh": True,
            },
        ),
        ("lr-sweep --settings s.toml", "lr_sweep", {"values": [0.3], "epochs": 2, "workers": 1}),
        ("lr-sweep --epochs 4 --settings s.toml", "lr_sweep", {"values": [0.3], "epochs": 4}),
    ],
)
def test_words_become_one_call(
    words: str,
    name: str,
    kwargs: dict[str, Any],
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    """Each command calls its study once, with what was said and the contract's defaults."""
    write("best.json", json.dumps(BEST))
    write("s.toml", "values = [0.3]\nepochs = 2\nworkers = 1\n")
    assert cli.main(words.split()) == 130  # the stand-in interrupts
    ((called, named),) = calls
    assert called == name
    assert {key: named[key] for key in kwargs} == kwargs


BAD = [
    # what is typed; the exit code; what the line says
    ("lr-swep", 2, "lr-sweep"),
    ("lr-sweep --epoch 3", 2, "--epochs"),
    ("lr-sweep extra", 2, "unexpected extra argument"),
    ("lr-sweep --epochs many", 2, "'many' is not a valid integer"),
    ("lr-sweep --epochs 0", 2, "epochs is a whole number, at least 1: got 0"),
    ("lr-sweep --epochs -1", 2, "epochs is a whole number, at least 1: got -1"),
    ("lr-sweep --epochs 1.5", 2, "'1.5' is not a valid integer"),
    ("lr-sweep --values 0", 2, "learning_rate is a finite number above 0: got 0.0"),
    ("lr-sweep --values -0.1", 2, "learning_rate is a finite number above 0: got -0.1"),
    ("lr-sweep --values nan", 2, "learning_rate is a finite number above 0: got nan"),
    ("lr-sweep --values inf", 2, "learning_rate is a finite number above 0: got inf"),
    ("lr-sweep --values fast", 2, "'fast' is not a list of numbers"),
    ("lr-sweep --values 0.1,,0.2", 2, "is not a list of numbers"),
    ("lr-sweep --values 0.1,0.1", 2, "each once"),
    ("lr-sweep --repeats 0", 2, "at least 1: got 0"),
    ("lr-sweep --seed -1", 2, "seed is an integer, 0 or more: got -1"),
    ("lr-sweep --workers -1", 2, "--workers is auto or at least 0: got -1"),
    ("lr-sweep --host 203.0.113.9 --data sample", 2, "--host is an address of this machine"),
    ("lr-sweep --host 0.0.0.0", 2, "--host is an address of this machine: got 0.0.0.0"),
    ("lr-sweep --workers some", 2, "'some' is neither auto nor a whole number"),
    ("lr-sweep --threads-per-worker 0", 2, "a whole number, at least 1: got 0"),
    ("lr-sweep --threads-per-worker all", 2, "'all' is not a valid integer"),
    ("lr-sweep --time-limit 2", 2, "such as 2h, 90m or 1h30m: got '2'"),
    ("lr-sweep --time-limit 0s", 2, "at least a second"),
    ("lr-sweep --time-limit -1h", 2, "got '-1h'"),
    ("lr-sweep --until 24:00", 2, "00:00 to 23:59, such as 18:00: got '24:00'"),
    ("lr-sweep --until 6pm", 2, "got '6pm'"),
    ("lr-sweep --settings untimely.toml", 2, "got 'tomorrow'"),
    ("lr-sweep --precision float16", 2, "'float16' is not one of"),
    ("lr-sweep --device tpu", 2, "'tpu' is not one of"),
    ("lr-sweep --settings missing.toml", 2, "in a readable TOML file: got missing.toml"),
    ("lr-sweep --settings broken.toml", 2, "a settings file is TOML"),
    ("lr-sweep --settings unknown.toml", 2, "did you mean 'epochs'"),
    ("filter-sweep --values 0", 2, "filter_size is a whole number of pixels, 1 to 28: got 0"),
    ("filter-sweep --values 29", 2, "1 to 28: got 29"),
    ("filter-sweep --values 2.5", 2, "is not a list of whole numbers"),
    ("random-search", 2, "Missing option '--iters'"),
    ("random-search --iters 0", 2, "at least 1: got 0"),
    ("random-search --iters -3", 2, "at least 1: got -3"),
    ("random-search --iters 2 --space missing.json", 2, "readable JSON file: got missing.json"),
    (
        "random-search --iters 2 --space list.json",
        2,
        "a search space is a JSON object: got list.json",
    ),
    ("random-search --iters 2 --space epochs.json", 2, "got 'epochs' in epochs.json; the epochs"),
    ("train --learning-rate 0", 2, "learning_rate is a finite number above 0"),
    ("train --batch-size 0", 2, "batch_size is a whole number of images, at least 1: got 0"),
    ("train --batch-size 1.5", 2, "'1.5' is not a valid integer"),
    ("train --batch-size 3573", 2, "at most the number of training images, 3,572: got 3573"),
    ("train --num-filters 0", 2, "num_filters is a whole number, 1 to 1024: got 0"),
    ("train --filter-size 0", 2, "filter_size is a whole number of pixels"),
    ("train --momentum 1", 2, "momentum is a number from 0 to below 1: got 1.0"),
    ("train --momentum -0.5", 2, "momentum is a number from 0 to below 1: got -0.5"),
    ("train --momentum nan", 2, "momentum is a number from 0 to below 1: got nan"),
    ("train --dropout 1", 2, "dropout is a number from 0 to below 1: got 1.0"),
    ("train --dropout half", 2, "'half' is not a valid float"),
    ("train --weight-decay -1e-4", 2, "weight_decay is a finite number, 0 or more: got -0.0001"),
    ("train --weight-decay inf", 2, "weight_decay is a finite number, 0 or more: got inf"),
    ("test", 2, "Missing option '--config'"),
    ("test --config missing.json", 2, "in a readable JSON file: got missing.json"),
    ("test --config text.json", 2, "which is not JSON"),
    ("test --config list.json", 2, "which holds a list"),
    ("test --config lacking.json", 2, "without 'filter_size'"),
    ("test --config extra.json", 2, "only keys that mnist-lab knows: got 'momentun'; did you mean"),
    ("test --config negative.json", 2, "learning_rate is a finite number above 0: got -1"),
    ("test --config text_value.json", 2, "batch_size is a whole number of images"),
    ("test --config best.json --epochs 0", 2, "epochs is a whole number, at least 1: got 0"),
    ("test --config best.json --fit-on test", 2, "'test' is not one of"),
    ("train --data missing.npz", 2, "the data set exists"),
    ("train --data text.json", 2, "a data set is a .npz file or a folder"),
    ("train --data empty", 2, "the four IDX files"),
    ("train --out text.json", 2, "the output path is a folder"),
    ("train --out text.json/below", 2, "the output path is a folder"),
    ("train --out /proc/run", 1, "the output folder can be written"),
    ("train --out full", 2, "new, empty or a run: got full, which holds other files"),
    ("status empty", 2, "a run directory holds a run.json"),
    ("status", 2, "Missing argument 'RUN_DIR'"),
    ("plot empty", 2, "a run directory holds a run.json"),
    ("space --space missing.json", 2, "readable JSON file: got missing.json"),
    ("space --space epochs.json", 2, "varies learning_rate, batch_size, num_filters, filter_size"),
    ("--nonsense", 2, "no such option"),
]


def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says the rule and the value, the contract's exit code, and nothing written."""
    monkeypatch.setenv("MNIST_LAB_DATA", "sample")
    write("best.json", json.dumps(BEST))
    write("text.json", "learning rate")
    write("list.json", "[1]")
    epochs = {"type": "constant", "name": "epochs", "value": 9}
    write("epochs.json", json.dumps({"hyperparameters": [epochs]}))
    write("lacking.json", json.dumps({k: v for k, v in BEST.items() if k != "filter_size"}))
    write("extra.json", json.dumps(BEST | {"momentun": 0.9}))
    write("negative.json", json.dumps(BEST | {"learning_rate": -1.0}))
    write("text_value.json", json.dumps(BEST | {"batch_size": "many"}))
    write("broken.toml", "values = [")
    write("unknown.toml", "epoch = 3")
    write("untimely.toml", "until = 'tomorrow'")
    Path("empty").mkdir()
    Path("full").mkdir()
    write("full/thesis.tex", "mine")
    before = sorted(Path().rglob("*"))
    for words, code, text in BAD:
        assert cli.main(words.split()) == code, words
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("mnist-lab: ")
        assert printed.err.count("\n") == 1
        assert text in printed.err
        assert sorted(Path().rglob("*")) == before, words


def test_help_begins_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command is listed; its examples stand right after what it is for, a line each."""
    assert cli.main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in mnist_lab.commands:
        assert name in listed
        assert cli.main([name, "--help"]) == 0
        usage, what, examples, *_ = capsys.readouterr().out.split("\n\n")
        assert usage.startswith(f"Usage: mnist-lab {name}")
        assert what.endswith(".")
        for line in examples.splitlines():
            assert line.startswith(f"  mnist-lab {name}")


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Who gives no command sees which there are, a line each."""
    assert cli.main([]) == 2
    assert "\n  lr-sweep " in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """The script is the shell's, and asks the program for the words."""
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_MNIST_LAB_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """In a real bash, with the script that it is given."""
    (tmp_path / "mnist-lab").write_text(f'#!/bin/sh\nexec {sys.executable} -m mnist_lab "$@"\n')
    (tmp_path / "mnist-lab").chmod(0o755)
    ask = """
    source <(mnist-lab completion bash)
    complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _mnist_lab_completion mnist-lab; echo "${COMPREPLY[*]}"; }
    complete_words mnist-lab ran
    complete_words mnist-lab random-search --prec
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-c", ask],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["random-search", "--precision"]


def test_defect_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw shows its traceback and says whose fault it is."""
    monkeypatch.setattr(study, "train", lambda *_, **__: 1 / 0)
    assert cli.main(["train"]) == 3
    printed = capsys.readouterr().err
    assert "ZeroDivisionError" in printed
    assert "a defect of mnist-lab" in printed


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """`--debug` adds where an expected error came from."""
    assert cli.main(["train", "--learning-rate", "0", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.toml")), ids=lambda path: path.name)
def test_every_settings_file_fits_its_command(
    path: Path, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]
) -> None:
    """The command in a file's first line is one that runs, with the file."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    words = first.removeprefix("# ").split()
    assert words[0] == "mnist-lab"
    write("best.json", json.dumps(BEST))
    words = [str(ROOT / word) if word.startswith("configs/") else word for word in words[1:]]
    words = ["best.json" if word.endswith("best.json") else word for word in words]
    assert cli.main(words) == 130
    assert len(calls) == 1


def test_there_are_settings_files() -> None:
    """The table above is not empty."""
    assert len(list(ROOT.glob("configs/*.toml"))) >= 3
