"""The processes that are started: nothing that a person has set up for others reaches them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mnist_lab import processes
from mnist_lab.rundir import RunDir

TRAIN = "lr-sweep --data sample --values 0.1 --epochs 1 --workers 1"
COMMAND = (str(Path(sys.executable).with_name("mnist-lab")), *TRAIN.split())
# Keras' own file, and each of the variables, changed numbers or kept every trial from starting.
KERAS_JSON = {"floatx": "float16", "epsilon": 0.01, "backend": "nonsense"}
KERAS_JSON |= {"image_data_format": "channels_first"}
VARIABLES = {
    "KERAS_BACKEND": "torch",
    "KERAS_NNX_ENABLED": "1",
    "KERAS_MAX_EPOCHS": "none",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_USE_LEGACY_KERAS": "1",
    "TF2_BEHAVIOR": "0",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "XLA_FLAGS": "--no_such_flag",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "NVIDIA_TF32_OVERRIDE": "0",
}
MODULES = ("random", "numpy", "keras", "logging", "click", "mnist_lab", "types", "typing")


def run(*words: str | Path, folder: Path, **variables: str) -> str:
    """What a command prints that ends well in a folder, as a person runs it."""
    env = os.environ | variables
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def epochs(folder: Path) -> list[Any]:
    """What was learned in the run of a folder, without how long it took."""
    (trial,) = RunDir(folder / "results" / "lr-sweep").read_trials()
    return [epoch.model_dump(exclude={"duration_s"}) for epoch in trial.epochs]


@pytest.mark.proof
def test_a_run_depends_on_neither_the_folder_nor_the_settings_of_others(tmp_path: Path) -> None:
    """Modules that hide Python's and ours, Keras' settings and variables: the same numbers."""
    clean, littered, home = (tmp_path / name for name in ("clean", "littered", "home"))
    for folder in (clean, littered, home):
        folder.mkdir()
    for name in MODULES:
        (littered / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    (littered / "tensorflow").mkdir()
    (home / "keras.json").write_text(json.dumps(KERAS_JSON))
    run(*COMMAND, folder=clean)
    run(*COMMAND, folder=littered, KERAS_HOME=str(home), **VARIABLES)
    assert epochs(littered) == epochs(clean)
    assert [path.name for path in home.iterdir()] == ["keras.json"]


def test_onednn_computes_on_every_processor(tmp_path: Path) -> None:
    """TensorFlow would leave it out on older ones, and oneDNN tells of each of its kernels."""
    code = """import os
from mnist_lab.execute.worker import tensorflow_settings
os.environ.update(tensorflow_settings(1))
import tensorflow as tf
tf.function(tf.nn.conv2d)(tf.ones((1, 8, 8, 1)), tf.ones((3, 3, 1, 4)), 1, "SAME")"""
    variables = {"TF_ENABLE_ONEDNN_OPTS": "0", "ONEDNN_VERBOSE": "1"}
    told = run(*processes.python(code), folder=tmp_path, **variables)
    assert ",exec,cpu,convolution," in told


def test_keras_in_this_process_reads_no_settings(tmp_path: Path) -> None:
    """Who imports our model gets Keras as it was shipped, and the variables are as before."""
    (tmp_path / "keras.json").write_text("[]")  # Keras raises AttributeError
    code = """import os
before = dict(os.environ)
from mnist_lab.training import trainer
import keras
print(keras.config.backend(), keras.config.floatx(), keras.config.image_data_format())
print({key: os.environ.get(key) for key in before} == before)"""
    told = run(
        *processes.python(code), folder=tmp_path, KERAS_HOME=str(tmp_path), KERAS_BACKEND="jax"
    )
    assert told.splitlines() == ["tensorflow float32 channels_last", "True"]


def test_what_a_child_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither numbers nor the start depend on a person's variables; messages and paths may."""
    kept = {"TF_CPP_MIN_LOG_LEVEL": "0", "CUDA_VISIBLE_DEVICES": "1", "PYTHONPATH": "/elsewhere"}
    for name, text in (VARIABLES | kept).items():
        monkeypatch.setenv(name, text)
    seen = processes.environment()
    assert kept.items() <= seen.items()
    left = {name: seen[name] for name in VARIABLES if name in seen}
    assert left == {"KERAS_BACKEND": "tensorflow"}


@pytest.mark.parametrize("options", [[], ["-P"]])
def test_module_runs_among_files_named_like_modules(tmp_path: Path, options: list[str]) -> None:
    """`python -m mnist_lab` does not take them either, but for those that Python itself loads."""
    for name in ("random", "numpy", "click", "logging"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    run(sys.executable, *options, "-m", "mnist_lab", "space", "--json", folder=tmp_path)
