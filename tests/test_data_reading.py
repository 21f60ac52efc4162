"""Files of data sets, whole and broken: .npz, IDX, gzip, and what is none of these."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import (
    IDX_NAMES,
    Arrays,
    assert_holds,
    idx_bytes,
    make_arrays,
    md5s,
    npz_bytes,
    write_idx,
    write_npz,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lab import data
from mnist_lab.data import reading
from mnist_lab.errors import DataError
from mnist_lab.records import DatasetInfo

Build = Callable[[Path, Arrays], Path]


# --- whole files


def test_idx_folder(tmp_path: Path, arrays: Arrays) -> None:
    """A gzipped IDX file without .gz in its name, as some browsers save it, is read."""
    folder = write_idx(tmp_path / "digits", arrays)
    path = folder / IDX_NAMES["x_train"]
    path.write_bytes(gzip.compress(path.read_bytes()))
    dataset = data.load(str(folder))
    assert_holds(dataset, arrays)
    assert dataset.info.name == "digits"


def test_npz(tmp_path: Path, arrays: Arrays) -> None:
    """An .npz of another data set is accepted, and named as what it is."""
    path = write_npz(tmp_path / "fashion.npz", arrays)
    dataset = data.load(str(path))
    assert_holds(dataset, arrays)
    told: dict[str, Any] = {"name": "fashion", "source": str(path), "notice": "not MNIST: fashion"}
    told |= {"is_mnist": False, "n_train": 20, "n_valid": 4, "n_test": 6, "digests": md5s(arrays)}
    assert dataset.info == DatasetInfo(**told)


# --- broken files


def changed(key: str, change: Callable[[Any], Any]) -> Build:
    """Build an .npz with one array changed."""
    return lambda tmp, arrays: write_npz(tmp / "a.npz", arrays | {key: change(arrays[key])})


def without(*keys: str, **more: object) -> Build:
    """Build an .npz without some arrays, and with some more."""
    return lambda tmp, arrays: write_npz(
        tmp / "a.npz", {key: arrays[key] for key in arrays if key not in keys} | more
    )


def patched(change: Callable[[bytes], bytes]) -> Build:
    """Build an uncompressed .npz whose bytes are changed."""
    return lambda tmp, arrays: put(tmp / "a.npz", change(npz_bytes(arrays)))


def zipped(content: bytes, method: int = zipfile.ZIP_STORED) -> Build:
    """Build an .npz whose x_train.npy is `content`."""

    def build(tmp: Path, arrays: Arrays) -> Path:
        path = without("x_train")(tmp, arrays)
        with zipfile.ZipFile(path, "a", method) as archive:
            archive.writestr("x_train.npy", content)
        return path

    return build


def idx(key: str, change: Callable[[bytes], bytes] | None, *, packed: bool = False) -> Build:
    """Build a folder of IDX files, one of them changed, as stored, or gone: gzipped if `packed`."""

    def build(tmp: Path, arrays: Arrays) -> Path:
        ending = ".gz" * packed
        path = write_idx(tmp / "idx", arrays, "{n}" + ending) / (IDX_NAMES[key] + ending)
        if change:
            path.write_bytes(change(path.read_bytes()))
        else:
            path.unlink()
        return path.parent

    return build


def made(make: Callable[[Path], Any]) -> Build:
    """Build what `make` makes at a path: a named pipe keeps whoever opens it waiting."""

    def build(tmp: Path, _: Arrays) -> Path:
        make(tmp / "a.bin")
        return tmp / "a.bin"

    return build


def single_file(content: bytes) -> Build:
    """Build a file that is no data set."""
    return made(lambda path: path.write_bytes(content))


def put(path: Path, content: bytes) -> Path:
    """Write a file."""
    path.write_bytes(content)
    return path


def npy(array: Any) -> bytes:
    """Give the array as the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def flip(index: int) -> Callable[[bytes], bytes]:
    """Flip the lowest bit of one byte."""
    return lambda raw: raw[:index] + bytes([raw[index] ^ 1]) + raw[index:][1:]


def encrypted(raw: bytes) -> bytes:
    """Set the flag of encryption in each entry of the zip's directory."""
    parts = raw.split(b"PK\1\2")  # an entry; 4 bytes of versions, then the flags
    return b"PK\1\2".join([parts[0], *(part[:4] + b"\1" + part[5:] for part in parts[1:])])


NO_IMAGES = r"the training images are {}, not bytes"
HUGE = npy(np.zeros((1, 28, 28), np.uint8)).replace(
    b"(1, 28, 28), }" + b" " * 12, b"(%d, 28, 28), }" % 10**12
)
BAD = [
    # paths
    (lambda tmp, _: tmp / "no.npz", r"no file or folder .*no\.npz.; --data takes a"),
    (lambda *_: "~nobody-of-that-name/a.npz", "no file or folder .*; --data takes a"),
    (lambda *_: "a\0b", "unreadable.*null byte"),
    (lambda tmp, _: tmp / ("a" * 5000), "unreadable.*File name too long"),
    (made(lambda path: path.symlink_to(path)), "unreadable.*symbolic links"),
    (made(os.mkfifo), r"bin is neither a .npz file nor a folder; --data takes"),
    (single_file(b""), "is neither a .npz file"),
    (single_file(b"5,0,4,1"), "is neither a .npz file"),
    (single_file(npy(np.zeros(3))), "is neither a .npz file"),
    (single_file(idx_bytes(np.zeros(3))), "is a single IDX or gzip file; --data"),
    (single_file(gzip.compress(b"")), "is a single IDX or gzip file; --data"),
    # .npz as a file
    (patched(lambda raw: raw[:-100]), "damaged.*not a zip file.*; get or save"),
    (patched(lambda raw: raw[:2]), "is neither a .npz file"),
    (patched(flip(5000)), "damaged.*CRC-32"),
    (patched(flip(31)), "damaged.*differ"),
    (patched(encrypted), "damaged.*encrypted"),
    (zipped(npy(np.zeros(3)), zipfile.ZIP_BZIP2), "x_train.npy is compressed as numpy"),
    (
        patched(lambda raw: raw.replace(b"'shape': (24, 28, 28)", b"'shape': ((((((((((((")),
        r"a\.npz is damaged.*; get or save",
    ),
    (
        patched(lambda raw: raw.replace(b"'|u1'", b"'(,)'")),
        r"damaged.*invalid syntax.*; get",
    ),
    (zipped(HUGE), "damaged.*allocate"),
    (lambda tmp, _: write_npz(tmp / "a.npz", {}), "has no x_train, .*; add what is missing"),
    (without("x_test", "y_test"), "has no x_test, y_test; add what"),
    (
        without("x_test", X_test=np.zeros(3)),
        r"has no x_test; rename .* \(X_test to x_test\)",
    ),
    (changed("x_train", lambda _: np.array([None] * 24)), "x_train holds Python objects"),
    (zipped(b"hello"), NO_IMAGES.format(r"\|S5 \(\)")),
    # images
    (
        changed("x_train", lambda x: x.reshape(-1, 784)),
        NO_IMAGES.format(r"uint8 \(24, 784\)") + r".*; save x\.reshape\(-1, 28, 28\)",
    ),
    (changed("x_train", lambda _: np.uint8(1)), NO_IMAGES.format(r"uint8 \(\)")),
    (without(**make_arrays(0, 6)), "there are 0 training images, and at least 12"),
    (without(**make_arrays(11, 6)), "there are 11 training images"),
    (without(**make_arrays(24, 0)), "there are 0 test images, and at least 1"),
    # labels
    (changed("y_train", lambda y: y > 4), "the training labels are bool"),
    (changed("y_train", lambda y: y[1:]), r"uint8 \(23,\), not one integer for each of 24 images"),
    (changed("y_test", lambda y: y[1:]), r"the test labels .* each of 6 images"),
    (changed("y_train", lambda y: y + 1), "labels go from [0-9]+ to 10, not from 0 to 9"),
    # IDX
    (
        idx("y_test", None),
        "is missing t10k-labels-idx1-ubyte; it has .*train-images-.*; add what is missing",
    ),
    (idx("x_train", flip(2)), r"train-images.*begins with b.*of 3 axes"),
    (idx("y_train", flip(3)), r"train-labels.*begins with b.*of 1 axes"),
    (
        idx("x_train", lambda _: idx_bytes(np.zeros(24))),
        r"train-images.*begins with b'\\x00\\x00\\x08\\x01', not as an IDX file of 3 axes",
    ),
    (idx("x_train", lambda _: b""), "begins with b''"),
    (idx("x_train", lambda raw: raw[:9]), "begins with"),
    (idx("y_test", lambda raw: raw[:-1]), "has 5 bytes .* header says 6"),
    (idx("y_test", lambda raw: raw + b"1"), "has more bytes .* header says 6"),
    (idx("x_train", lambda raw: raw[:4] + b"\xff" * 4 + raw[8:]), "claims 3,367,254,359,"),
    (idx("x_train", lambda raw: raw[:-100], packed=True), "ended before"),
    (idx("x_train", flip(-6), packed=True), "CRC check failed"),
    (idx("x_train", flip(400), packed=True), r"idx3-ubyte\.gz is damaged"),
    (idx("x_train", lambda raw: raw + b"tail", packed=True), "Not a gzipped"),
]


@pytest.mark.parametrize(("build", "match"), BAD)
def test_broken(
    tmp_path: Path, arrays: Arrays, build: Callable[[Path, Arrays], Path | str], match: str
) -> None:
    """A broken data set is refused in one line: the rule, what was received, what to do."""
    with pytest.raises(DataError, match=match) as raised:
        data.load(str(build(tmp_path, arrays)))
    assert "\n" not in str(raised.value)
    assert raised.value.next_step


def test_forbidden(tmp_path: Path, arrays: Arrays) -> None:
    """A file that we may not read is named, with the reason."""
    path = write_npz(tmp_path / "a.npz", arrays)
    path.chmod(0)
    root = os.geteuid() == 0  # whom nothing is forbidden
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match=r"a\.npz is .*unreadable.*Permission denied"):
            data.load(str(path))
    finally:
        if root:
            os.seteuid(0)


def test_npz_that_claims_too_much(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An .npz is refused by the size in its directory, before anything is unpacked."""
    monkeypatch.setattr(reading, "_MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"unreadable \(x_train\.npy claims 18,944 bytes\)"):
        data.load(str(write_npz(tmp_path / "a.npz", arrays)))


def test_gzip_bomb(tmp_path: Path, arrays: Arrays) -> None:
    """A gzip that unpacks to far more than its header says is not unpacked further."""
    folder = write_idx(tmp_path / "idx", arrays, "{n}.gz")
    bomb = gzip.compress(idx_bytes(arrays["x_train"]) + bytes(100_000_000))
    (folder / f"{IDX_NAMES['x_train']}.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="has more bytes where its header says 18,816"):
            data.load(str(folder))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# --- laws


@given(st.integers(12, 80), st.integers(1, 20), st.integers(0, 99), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=40)
def test_idx_round_trip(n_train: int, n_test: int, seed: int, packed: bool, dot: bool) -> None:  # noqa: FBT001 - drawn
    """Any arrays, written as IDX files, come back, and their digests are those of the files.

    They are read in both spellings, gzipped or not.
    """
    arrays = make_arrays(n_train, n_test, seed)
    pattern = ("{d}" if dot else "{n}") + ".gz" * packed
    with tempfile.TemporaryDirectory() as folder:
        dataset = data.load(str(write_idx(Path(folder), arrays, pattern)))
    assert_holds(dataset, arrays)
    assert dataset.info.digests == md5s(arrays)


@given(data_=st.data(), compress=st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_damage_is_a_data_error(data_: st.DataObject, *, compress: bool) -> None:
    """However the bytes of an .npz are damaged, it loads or is refused; nothing else."""
    raw = bytearray(npz_bytes(make_arrays(), compress=compress))
    starts = [i for i in range(len(raw)) if raw.startswith((b"PK", b"NUMPY"), i)]
    near = [i for at in starts for i in range(at, at + 100)]
    places = st.one_of(
        st.sampled_from([i for i in near if i < len(raw)]), st.integers(0, len(raw) - 1)
    )
    for place, byte in data_.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        raw[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        path.write_bytes(raw[: data_.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))])
        try:
            dataset = data.load(str(path))
        except DataError:
            return
    assert len(dataset.training.train) + len(dataset.training.valid) >= 12
