"""What users install."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import flit_core.buildapi

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_package_and_its_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every template, style, script and licence of the package is in it, and nothing else."""
    monkeypatch.chdir(ROOT)
    with ZipFile(tmp_path / flit_core.buildapi.build_wheel(str(tmp_path))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licences = {Path(name).name for name in wheel.namelist() if "/licenses/" in name}
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert names == {name for name in files if "__pycache__" not in name}
    assert licences == {"LICENSE", "plotly-basic.LICENSE.txt"}
