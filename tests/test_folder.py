"""The folder of a run: never another's, and every file in it whole."""

import csv
import json
import os
import stat
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rljax.runs import folder

# Making a folder


@pytest.mark.parametrize("kind", ["file inside", "hidden file inside", "folder inside", "file itself"])
def test_what_is_there_is_refused_and_untouched(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file itself":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "deep").mkdir() if kind == "folder inside" else (
            out / (".hidden" if "hidden" in kind else "file")
        ).write_text("mine")
    before = sorted(
        (path, path.stat().st_mtime_ns, path.is_file() and path.read_text()) for path in tmp_path.rglob("*")
    )
    with pytest.raises(FileExistsError, match=r"out exists and is not an empty folder; .* of demo\. .*--out"):
        folder.create(out, "demo")
    assert before == sorted(
        (path, path.stat().st_mtime_ns, path.is_file() and path.read_text()) for path in tmp_path.rglob("*")
    )


def test_an_empty_or_new_folder_is_taken_with_its_parents(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new", str(tmp_path / "a" / "b")):
        made = folder.create(out, "demo")
        assert made == Path(out) and made.is_dir() and not any(made.iterdir())


def test_what_holds_nothing_but_its_config_is_taken_away_again(tmp_path, monkeypatch):
    """With the parents that were made for it; what was there before stays, and whatever a run has written."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for out in ("a/b/c", "a/b/other", "empty", None, "kept"):
        folder.write_config(folder.create(out, "demo"), "demo", {})
    Path("kept/metrics.csv").write_text("step\n")
    folder.withdraw()
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "kept"]
    assert not any(Path("empty").iterdir())
    assert {path.name for path in Path("kept").iterdir()} == {"config.json", "metrics.csv"}


def test_only_what_was_made_here_is_taken_away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("theirs").mkdir()
    Path("theirs/config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        folder.create("theirs", "demo")
    folder.create("ours", "demo").rmdir()  # by someone else
    shared = folder.create("both", "demo")
    (shared / "config.json").write_text("{}")  # by another run with the same --out
    with pytest.raises(FileExistsError, match="another run has the same --out"):
        folder.write_config(shared, "demo", {})
    folder.create("parent/mine", "demo")
    Path("parent/sibling").mkdir()
    folder.withdraw()
    assert Path("theirs/config.json").is_file() and Path("both/config.json").is_file()
    assert [path.name for path in Path("parent").iterdir()] == ["sibling"]


def test_what_cannot_be_made_is_told_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"deeper cannot be made \(Not a directory\). Give another --out"):
        folder.create(tmp_path / "file" / "deeper", "demo")
    with pytest.raises(OSError, match=r"nn cannot be made \(File name too long\)"):
        folder.create(tmp_path / ("n" * 300), "demo")
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("")
    with pytest.raises(NotADirectoryError, match=r"cannot be made \(Not a directory\)"):
        folder.create(None, "demo")


def test_fresh_names_never_meet(tmp_path, monkeypatch):
    """Five runs within one second, of a name with a dot: five folders under runs/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folder.time, "strftime", lambda form: "20260101-120000")
    made = [folder.create(None, "benchmarks.speed") for _ in range(5)]
    assert [path.as_posix() for path in made] == [
        "runs/benchmarks-speed-20260101-120000" + suffix for suffix in ("", "-2", "-3", "-4", "-5")
    ]
    assert all(path.is_dir() for path in made)


def test_fresh_names_give_up_in_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folder.time, "strftime", lambda form: "now")
    monkeypatch.setattr(folder, "range", lambda count: range(2), raising=False)
    for _ in range(2):
        folder.create(None, "demo")
    with pytest.raises(FileExistsError, match="Give --out"):
        folder.create(None, "demo")


# Whole or not at all


def everything_in(path):
    return sorted(p.name for p in path.iterdir())


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "file.bin"
    assert folder.write_atomically(path, lambda file: file.write(b"one")) == path
    assert path.read_bytes() == b"one"
    folder.write_atomically(str(path), lambda file: file.write(b"2"))
    assert path.read_bytes() == b"2" and everything_in(tmp_path) == ["file.bin"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError, SystemExit])
@pytest.mark.parametrize("existing", [False, True])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error, existing):
    path = tmp_path / "file.bin"
    if existing:
        path.write_bytes(b"old")

    def half(file):
        file.write(b"half of the new")
        file.flush()
        raise error

    with pytest.raises(error):
        folder.write_atomically(path, half)
    assert everything_in(tmp_path) == (["file.bin"] if existing else [])
    assert not existing or path.read_bytes() == b"old"


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    seen = []

    def slow(file):
        for _ in range(3):
            file.write(b"x" * 100_000)
            file.flush()
            seen.append(path.read_bytes())

    folder.write_atomically(path, slow)
    assert seen == [b"old"] * 3 and path.read_bytes() == b"x" * 300_000


def test_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(folder.os, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1])
    folder.write_atomically(tmp_path / "file", lambda file: file.write(b"x"))
    assert calls == ["fsync", "replace"]


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="absent"):
        folder.write_atomically(tmp_path / "absent" / "file", lambda file: file.write(b"x"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        folder.write_atomically(tmp_path / "taken", lambda file: file.write(b"x"))
    assert everything_in(tmp_path) == ["taken"]


# JSON

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(content=st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_json_comes_back(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    assert folder.read_json(folder.write_json(path, content)) == content


def test_json_of_arrays_scalars_and_paths(tmp_path):
    content = {
        "numpy": np.arange(3),
        "scalar": np.float32(0.5),
        "truth": np.bool_(True),
        "jax": jnp.float32([[1.0, 2.0]]),
        "whole": jnp.int32(7),
        "path": Path("runs/demo"),
        "nested": [{"x": np.int64(2)}],
    }
    path = folder.write_json(tmp_path / "content.json", content)
    assert folder.read_json(path) == {
        "numpy": [0, 1, 2],
        "scalar": 0.5,
        "truth": True,
        "jax": [[1.0, 2.0]],
        "whole": 7,
        "path": "runs/demo",
        "nested": [{"x": 2}],
    }
    assert path.read_text().endswith("}\n") and len(path.read_text().splitlines()) > 7


def test_what_json_has_no_number_for_is_null(tmp_path):
    """NaN and Infinity are Python's own words: other programs refuse the whole file."""
    content = {
        "nan": float("nan"),
        "inf": np.float32(np.inf),
        "array": jnp.array([1.0, jnp.nan]),
        "tuple": (1, -np.inf),
    }
    path = folder.write_json(tmp_path / "content.json", {"inner": content})
    refuse = pytest.fail
    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read == {"inner": {"nan": None, "inf": None, "array": [1.0, None], "tuple": [1, None]}}


def test_what_is_not_json_writes_nothing(tmp_path):
    path = folder.write_json(tmp_path / "content.json", {"a": 1})
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        folder.write_json(path, {"a": object()})
    assert folder.read_json(path) == {"a": 1} and everything_in(tmp_path) == ["content.json"]


def test_reading_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"summary\.json is not there; expected the folder of a finished run"):
        folder.read_json(tmp_path / "summary.json")
    with pytest.raises(FileNotFoundError, match="is not there"):
        folder.read_json(tmp_path)
    whole = folder.write_json(tmp_path / "whole.json", {"some": [1, 2, {"thing": None}]}).read_text()
    for length in range(len(whole.rstrip())):
        (tmp_path / "half.json").write_text(whole[:length])
        with pytest.raises(ValueError, match=r"half\.json is not whole JSON"):
            folder.read_json(tmp_path / "half.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"binary\.json is not whole JSON"):
        folder.read_json(tmp_path / "binary.json")


# CSV


def test_csv_comes_back(tmp_path):
    rows = [{"name": "a,b", "x": 0.1, "n": 1}, {"name": 'says "hi"\r\nto all\n', "x": float("nan"), "n": -2}]
    path = folder.write_csv(tmp_path / "rows.csv", iter(rows))
    with path.open(newline="") as file:
        back = list(csv.DictReader(file))
    assert [list(row) for row in back] == [["name", "x", "n"]] * 2
    assert [row["name"] for row in back] == [row["name"] for row in rows]
    assert float(back[0]["x"]) == 0.1 and np.isnan(float(back[1]["x"])) and back[1]["n"] == "-2"


def test_csv_of_uneven_rows_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="y"):
        folder.write_csv(tmp_path / "rows.csv", [{"x": 1}, {"x": 1, "y": 2}])
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("rows", [[], iter(())], ids=["list", "iterator"])
def test_csv_of_no_rows_is_refused_and_leaves_what_was_there(tmp_path, rows):
    """An empty file would be read as a broken one, and a head cannot be guessed."""
    path = folder.write_csv(tmp_path / "rows.csv", [{"x": 1}])
    with pytest.raises(ValueError, match=r"^no rows are given for .*rows\.csv; expected at least one, whose keys head"):
        folder.write_csv(path, rows)
    assert path.read_text().split() == ["x", "1"] and everything_in(tmp_path) == ["rows.csv"]


def test_csv_rows_that_fail_half_way_leave_the_old_file(tmp_path):
    path = folder.write_csv(tmp_path / "rows.csv", [{"x": 1}])

    def rows():
        yield {"x": 2}
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        folder.write_csv(path, rows())
    assert path.read_text().split() == ["x", "1"] and everything_in(tmp_path) == ["rows.csv"]


# What was asked


def test_config_says_what_was_asked_with_what_on_what(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments", "demo", "--seeds", "3"])
    folder.write_config(tmp_path, "demo", {"seeds": 3, "out": tmp_path, "run_folder": Path("runs/x"), "quick": False})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["experiment"] == "demo" and config["command"] == "experiments demo --seeds 3"
    assert config["options"] == {"seeds": 3, "run_folder": "runs/x", "quick": False}
    assert config["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"jax", "jaxlib", "flax", "optax", "gymnasium", "numpy", "chex"} < set(config["versions"])
    assert config["versions"]["numpy"] == np.__version__ and config["machine"]["processors"] == os.cpu_count()
    assert config["machine"]["devices"] == [device.device_kind for device in jax.devices()]


def test_config_says_a_command_that_can_be_given_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/experiments/__main__.py", "demo", "--method", "one two"])
    folder.write_config(tmp_path, "demo", {})
    assert (
        json.loads((tmp_path / "config.json").read_text())["command"] == "python -m experiments demo --method 'one two'"
    )


def test_config_says_what_was_used_where_it_was_not_what_was_asked(tmp_path):
    folder.write_config(
        tmp_path,
        "demo",
        {"seeds": 16, "target": None, "out": tmp_path},
        {"seeds": 2, "target": 48.75, "world": object()},
    )
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["options"] == {"seeds": 16, "target": None} and config["used"] == {"seeds": 2, "target": 48.75}
