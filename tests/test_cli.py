"""The command line: words to one call, errors to one line and the contract's exit code."""

from __future__ import annotations

import json
import os
import re
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
BEST = {"learning_rate": 0.0372, "batch_size": 95, "num_filters": 22, "filter_size": 5, "epochs": 6}


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


SWEEP = {"values": [0.1, 0.01, 0.001, 0.0001], "epochs": 12, "repeats": 1}
SIZES = {"values": [1, 3, 5, 7]}
TEST = {"config": Path("best.json")}
OPTIONS = {"out": Path("o"), "data": "d", "device": "cpu", "workers": 3, "precision": "bfloat16"}
OTHERS = TrainConfig(momentum=0.9, dropout=0.25, weight_decay=1e-4, epochs=2)
WORDS: dict[str, dict[str, Any]] = {
    "lr-sweep": SWEEP,
    "lr-sweep --values 1,0.5 --repeats 3": {"values": [1.0, 0.5], "repeats": 3},
    "lr-sweep --values 1.0,0.10,0.05": {"values": [1.0, 0.1, 0.05]},
    "filter-sweep": SIZES | {"epochs": 12, "repeats": 1},
    "filter-sweep --learning-rate 0.001": SIZES | {"learning_rate": 0.001},
    "random-search --iters 7": {"iters": 7, "epochs": 6, "space": None},
    "train --num-filters 8": {"config": TrainConfig(num_filters=8)},
    "test --config best.json": TEST | {"fit_on": "train+valid"},
    "test --config best.json --epochs 2": TEST | {"epochs": 2},
    "train --momentum 0.9 --dropout 0.25 --weight-decay 1e-4 --epochs 2": {"config": OTHERS},
    "train": {"config": TrainConfig(), "workers": None, "seed": 0, "fresh": False},
    "train --out o --data d --device cpu --workers 3 --precision bfloat16 --seed 5 --fresh": OPTIONS
    | {"config": TrainConfig(), "seed": 5, "fresh": True},
    "lr-sweep --settings s.toml": {"values": [0.3], "epochs": 2, "workers": 1},
    "lr-sweep --epochs 4 --settings s.toml": {"values": [0.3], "epochs": 4},
}


def test_words_become_one_call(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Each command calls its study once, with what was said and the contract's defaults."""
    write("best.json", json.dumps(BEST))
    write("s.toml", "values = [0.3]\nepochs = 2\nworkers = 1\n")
    for words, kwargs in WORDS.items():
        calls.clear()
        assert cli.main(words.split()) == 130  # the stand-in interrupts
        ((called, named),) = calls
        assert called == words.split()[0].replace("-", "_")
        assert {key: named[key] for key in kwargs} == kwargs


# What is typed, and what the line says. That each rule is told, is tested where it is made.
BAD = {
    "lr-swep": "lr-sweep",
    "lr-sweep --epoch 3": "--epochs",
    "lr-sweep extra": "unexpected extra argument",
    "lr-sweep --epochs many": "--epochs: 'many' is not a number of epochs, such as 6",
    "lr-sweep --epochs 1e999999999": "is not a number of epochs, such as 6, 0.125 or 1/8",
    "lr-sweep --epochs 1/0": "is not a number of epochs, such as 6, 0.125 or 1/8",
    "lr-sweep --epochs 0": "--epochs: 0 is too small; epochs go from 0.000001 to 1,000,000",
    "lr-sweep --values 0": "--values: 0 is too small; learning rates are above 0",
    "lr-sweep --values fast": "'fast' is not a list of numbers",
    "lr-sweep --values 0.1,,0.2": "is not a list of numbers",
    "lr-sweep --values 0,1": "decimal commas; write points, and commas between the numbers",
    "lr-sweep --rates 0.1": "see mnist-lab lr-sweep --help",
    "lr-sweep --values 0.1,0.1": "--values: 0.1 appears twice\nhint: name each once",
    "lr-sweep --repeats 0": "--repeats: 0 is too small; repeats go from 1 to",
    "lr-sweep --seed -1": "--seed: -1 is too small; seeds go from 0",
    "lr-sweep --workers -1": "--workers: -1 is too small\nhint: use auto, or 0 or more",
    "lr-sweep --host 203.0.113.9 --data sample": "--host: 203.0.113.9 is not an address",
    "lr-sweep --host 0.0.0.0": "--host: 0.0.0.0 is not an address of this machine",
    "lr-sweep --workers some": "'some' is neither auto nor a whole number",
    "lr-sweep --threads-per-worker 0": "--threads-per-worker: 0 is too small",
    "lr-sweep --threads-per-worker all": "'all' is not a valid integer",
    "lr-sweep --time-limit 2": "'2' is not a duration of a second or more\nhint: write",
    "lr-sweep --until 24:00": "--until: '24:00' is not a time of day",
    "lr-sweep --settings untimely.toml": "--until: 'tomorrow' is not a time of day",
    "lr-sweep --precision float16": "'float16' is not one of",
    "lr-sweep --device tpu": "'tpu' is not one of",
    "lr-sweep --settings missing.toml": "no file 'missing.toml'",
    "lr-sweep --settings unknown.toml": "did you mean 'epochs'",
    "filter-sweep --values 0": "--values: 0 is too small; filter sizes are 1 to 28",
    "filter-sweep --values 3,29": "--values: 29 is too large; filter sizes are 1 to 28",
    "filter-sweep --values 2.5": "is not a list of whole numbers",
    "lr-sweep --learning-rate 0.1": "lr-sweep has no --learning-rate\nhint: --values 0.1",
    "lr-sweep --epochs": "--epochs needs a value\nhint: see mnist-lab lr-sweep --help",
    "lr-sweep --nice=3": "--nice takes no value",
    "hyperband --min-epochs 9": "--min-epochs 9 is above --max-epochs 8",
    "random-search --iters 0": "--iters: 0 is too small",
    "random-search --iters 2 --space missing.json": "no file 'missing.json'",
    "random-search --iters 2 --space epochs.json": "a search cannot vary 'epochs'\nhint: the",
    "train --learning-rate 0": "--learning-rate: 0 is too small",
    "train --batch-size 0": "--batch-size: 0 is too small; batch sizes are 1 to",
    "train --batch-size 1.5": "'1.5' is not a valid integer",
    "train --batch-size 3573": "batch size 3,573 is larger than the 3,572 training images",
    "train --num-filters 0": "--num-filters: 0 is too small",
    "train --filter-size 0": "--filter-size: 0 is too small",
    "train --momentum 1": "--momentum: 1 is too large; it goes from 0 to below 1",
    "train --dropout 1": "--dropout: 1 is too large",
    "train --dropout half": "'half' is not a valid float",
    "train --weight-decay -1e-4": "--weight-decay: -0.0001 is too small; weight decay is 0",
    "test": "test needs --config",
    "test --config missing.json": "no file 'missing.json'",
    "test --config run.json": "run.json describes a whole run\nhint: use the best.json beside it",
    "test --config best.json --epochs 0": "--epochs: 0 is too small",
    "test --config best.json --fit-on test": "'test' is not one of",
    "train --data missing.npz": "no file or folder 'missing.npz'\nhint: --data takes",
    "train --data sampel": "no file or folder 'sampel'\nhint: did you mean --data sample?",
    "train --out text.json": "text.json is, or lies below, a file\nhint: give another --out",
    "train --out text.json/run": "text.json/run is, or lies below, a file",
    "train --out /proc/run": "cannot write the folder /proc/run",
    "train --out full": "full holds other files",
    "status empty": "'empty' is not a run",
    "status none": "no folder 'none'",
    "export none --to csv": "no folder 'none'",
    "export empty": "export needs --to",
    "export empty --to excel": "'excel' is not one of",
    "worker": "worker needs a run directory",
    "report": "report needs RUN_DIRS...",
    "plot empty": "'empty' is not a run",
    "space --space missing.json": "no file 'missing.json'",
    "space --space epochs.json": "a search cannot vary 'epochs'",
    "--nonsense": "mnist-lab has no --nonsense",
}


def test_bad_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong and what to do, a line each; exit code 2, and nothing is written."""
    monkeypatch.setenv("MNIST_LAB_DATA", "sample")
    write("best.json", json.dumps(BEST))
    write("text.json", "learning rate")
    write("run.json", json.dumps({"settings": {"space": {"hyperparameters": []}}}))
    epochs = {"type": "constant", "name": "epochs", "value": 9}
    write("epochs.json", json.dumps({"hyperparameters": [epochs]}))
    write("unknown.toml", "epoch = 3")
    write("untimely.toml", "until = 'tomorrow'")
    Path("empty").mkdir()
    Path("full").mkdir()
    write("full/thesis.tex", "mine")
    before = sorted(Path().rglob("*"))
    for words, text in BAD.items():
        assert cli.main(words.split()) == 2, words
        printed = capsys.readouterr()
        assert printed.out == ""
        what, *way = printed.err.splitlines()
        assert what.startswith("error: ")
        assert [line.partition(": ")[0] for line in way] in ([], ["hint"])
        assert text in printed.err
        assert sorted(Path().rglob("*")) == before, words


def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands and options are in groups, nothing is cut at 80 columns; examples come first."""
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([]) == 2  # whoever gives no command sees which there are
    alone = capsys.readouterr().err
    assert cli.main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert listed == alone
    groups = listed.split("\n\n")[-4:]
    heads = ["Experiments:", "Searches:", "Results:", "Setup:"]
    assert [group.partition("\n")[0] for group in groups] == heads
    for name in mnist_lab.commands:
        assert f"\n  {name} " in listed
        assert cli.main([name, "--help"]) == 0
        told = capsys.readouterr().out
        usage, what, examples, *_ = told.split("\n\n")
        assert usage.startswith(f"Usage: mnist-lab {name}")
        assert what.endswith(".")
        for line in examples.splitlines():
            assert line.startswith(f"  mnist-lab {name}")
        assert max(map(len, (listed + told).splitlines())) <= 80
        assert "..." not in re.sub(r"A,B,\.\.\.|RUN_DIRS?\]?\.\.\.", "", listed + told)


def test_completion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script is the shell's; with it a real bash completes commands and options."""
    for shell in ("bash", "zsh", "fish"):
        assert cli.main(["completion", shell]) == 0
        script = capsys.readouterr().out
        assert f"_MNIST_LAB_COMPLETE={shell}_complete" in script
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=script, text=True, check=True)
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


def test_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--debug` shows where an error came from; a defect does by itself, and says whose it is."""
    assert cli.main(["train", "--learning-rate", "0", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr(study, "train", lambda *_, **__: 1 / 0)
    assert cli.main(["train"]) == 3
    printed = capsys.readouterr().err
    assert "ZeroDivisionError" in printed
    assert "a defect of mnist-lab" in printed


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.toml")), ids=lambda path: path.name)
def test_every_settings_file_fits_its_command(
    path: Path, calls: list[tuple[str, dict[str, Any]]]
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
