"""Where the peers run: an environment for each, and the variables of every process."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

HERE = Path(__file__).parent


def variables() -> dict[str, str]:
    """This process' variables, less those that slow Python's start or choose OpenBLAS' kernel."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("OPENBLAS_")
    }


def read_requirements(name: str) -> str:
    """The content of a file of `requirements/`."""
    return (HERE / "requirements" / name).read_text(encoding="utf-8")


def python_with(requirements: str, environments: Path) -> str:
    """The Python of these requirements' environment, made where it is not there or other.

    Args:
        requirements: the name of a file in `requirements/`.
        environments: the folder of all environments.

    Raises:
        CalledProcessError: a package cannot be installed; pip said why.
    """
    wanted = read_requirements(requirements)
    folder = environments / Path(requirements).stem
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"making {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--use-pep517", "--requirement"]
        file = str(HERE / "requirements" / requirements)
        subprocess.run([*pip, file], env=variables(), check=True)  # noqa: S603
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)
