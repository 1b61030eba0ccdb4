"""Figures: written whole, readable again, and drawn from the right numbers."""

import sys
from contextlib import contextmanager

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from rljax.runs import plots
from rljax.runs.statistics import interquartile_mean

NAN = np.nan


@pytest.fixture(autouse=True)
def nothing_left_open():
    """No figure lives on in pyplot, and no setting of the user's is touched."""
    before = dict(matplotlib.rcParams)
    yield
    assert plt.get_fignums() == [] and dict(matplotlib.rcParams) == before


@pytest.fixture
def drawn(monkeypatch):
    """The axes of every figure that is drawn, kept for a look."""
    kept, reals = [], {name: getattr(plots, name) for name in ("figure", "panels")}

    def watched(name):
        @contextmanager
        def watch(*args, **options):
            with reals[name](*args, **options) as axes:
                kept.append(axes)
                yield axes

        return watch

    for name in reals:
        monkeypatch.setattr(plots, name, watched(name))
    return kept


def panels_of(drawn):
    """Title -> axis of the learning curves, the last thing that was drawn."""
    return {axis.get_title(loc="left"): axis for axis in drawn[-1].flat if axis.figure is not None}


def line_of(axis):
    """x and y of the line while at least half run, then of the dotted rest."""
    (line,) = (line for line in axis.get_lines() if line.get_label() == axis.get_title(loc="left"))
    (rest,) = (other for other in axis.get_lines() if other.get_color() == line.get_color() and other.is_dashed())
    return tuple(np.asarray(data) for data in (*line.get_data(), *rest.get_data()))


def said(axis):
    return " ".join(text.get_text() for text in axis.figure.findobj(Text))


def picture(path):
    """[height, width, 3]; raises if the file is not a whole PNG."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return np.asarray(image.convert("RGB"))


def curves(steps=12, seeds=9, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform(0, 10, (steps, seeds)) + 10 * np.arange(steps)[:, None]


def test_a_figure_is_a_png_with_its_texts(tmp_path):
    path = tmp_path / "figure.png"
    with plots.figure(path, title="The title", xlabel="across", ylabel="up", size=(4, 3)) as axis:
        axis.plot([0, 1], [0, 1])
        assert (axis.get_title(loc="left"), axis.get_xlabel(), axis.get_ylabel()) == ("The title", "across", "up")
        assert not path.exists()
    assert picture(path).shape == (450, 600, 3)
    assert picture(path).min() < 128 < picture(path).max()
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_a_figure_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), plots.figure(path, title="t", xlabel="x", ylabel="y"):
        _ = 1 / 0
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with (
        pytest.raises(ModuleNotFoundError, match="pip install"),
        plots.figure(tmp_path / "f.png", title="", xlabel="", ylabel=""),
    ):
        pass
    assert not any(tmp_path.iterdir())


def test_learning_curves_draw_the_interquartile_mean_and_the_bands(tmp_path, drawn):
    values = {"plain": curves(), "shaped": curves(seed=1)}
    plots.learning_curves(tmp_path / "c.png", values, title="t", xlabel="x", ylabel="y", best_possible=200.0)
    picture(tmp_path / "c.png")
    axes = panels_of(drawn)
    assert list(axes) == list(values)
    colours = set()
    for name, value in values.items():
        axis, (x, y, _, _) = axes[name], line_of(axes[name])
        np.testing.assert_array_equal(x, np.arange(1, 13))
        np.testing.assert_allclose(y, interquartile_mean(value, axis=1))
        assert any(set(np.asarray(line.get_ydata())) == {200.0} for line in axis.get_lines())
        for band, outer in zip(axis.collections, (0.05, 0.25), strict=True):
            low, high = np.quantile(value, [outer, 1 - outer], axis=1)
            corners = band.get_paths()[0].vertices
            assert corners[:, 1].min() == pytest.approx(low.min()) and corners[:, 1].max() == pytest.approx(high.max())
        (other,) = set(values) - {name}
        assert any(np.array_equal(line.get_ydata(), line_of(axes[other])[1]) for line in axis.get_lines())
        colours |= {line.get_color() for line in axis.get_lines() if line.get_label() == name}
    assert len(colours) == 2 and "9 seeds" in said(axes["plain"]) and "stop" not in said(axes["plain"])
    assert axes["plain"].get_ylim() == axes["shaped"].get_ylim() and axes["plain"].get_ylim()[0] == 0


def ticks(axis):
    """Steps at which seeds stopped."""
    return sorted(float(x) for line in axis.get_lines() if line.get_marker() == "|" for x in line.get_xdata())


def test_a_stopped_seed_counts_with_its_last_value_and_the_line_is_dotted_once_half_have_stopped(tmp_path, drawn):
    values = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 4.0, 6.0, 100.0], [3.0, 8.0, NAN, NAN], [5.0, NAN, NAN, NAN]])
    plots.learning_curves(tmp_path / "c.png", {"a": values}, title="t", xlabel="x", ylabel="y")
    x, y, x_rest, y_rest = line_of(panels_of(drawn)["a"])
    np.testing.assert_array_equal(x, [1, 2, 3])
    np.testing.assert_array_equal(y, [1.0, 5.0, 7.0])  # the third row counts as 3 8 6 100
    np.testing.assert_array_equal(x_rest, [3, 4])
    np.testing.assert_array_equal(y_rest, [7.0, 7.0])  # 5 8 6 100
    assert ticks(panels_of(drawn)["a"]) == [2, 2, 3] and "3 of 4 seeds stop early" in said(panels_of(drawn)["a"])
    picture(tmp_path / "c.png")


def test_a_curve_ends_where_all_seeds_have_stopped(tmp_path, drawn):
    """Rows of NaN, or no rows: the loop ends with its last member."""
    values = np.array([[1.0, 3.0], [2.0, NAN], [NAN, NAN], [NAN, NAN]])
    for a in (values, values[:2]):
        plots.learning_curves(tmp_path / "c.png", {"a": a, "b": np.ones((4, 2))}, title="t", xlabel="x", ylabel="y")
        axes = panels_of(drawn)
        x, y, _, _ = line_of(axes["a"])
        np.testing.assert_array_equal(x, [1, 2])
        np.testing.assert_array_equal(y, [2.0, 2.5])
        np.testing.assert_array_equal(line_of(axes["b"])[0], [1, 2, 3, 4])
        assert ticks(axes["a"]) == [1, 2] and ticks(axes["b"]) == []


def test_negative_returns_are_shown(tmp_path, drawn):
    plots.learning_curves(tmp_path / "c.png", {"a": curves() - 500}, title="t", xlabel="x", ylabel="y")
    assert panels_of(drawn)["a"].get_ylim()[0] < -500


def test_one_seed_is_called_one(tmp_path, drawn):
    plots.learning_curves(tmp_path / "c.png", {"a": curves(seeds=1)}, title="t", xlabel="x", ylabel="y")
    assert "one seed" in said(panels_of(drawn)["a"])
    np.testing.assert_allclose(line_of(panels_of(drawn)["a"])[1], curves(seeds=1)[:, 0])


def test_no_curve_is_dropped(tmp_path, drawn):
    values = {f"setting {i}": curves(seed=i) for i in range(7)}
    plots.learning_curves(tmp_path / "c.png", values, title="t", xlabel="x", ylabel="y")
    assert [name for name in panels_of(drawn) if name] == list(values)
    picture(tmp_path / "c.png")


def test_inputs_are_left_alone(tmp_path):
    values = np.array([[1, 3], [2, NAN]])
    before = values.copy()
    plots.learning_curves(tmp_path / "c.png", {"a": values}, title="t", xlabel="x", ylabel="y")
    np.testing.assert_array_equal(values, before)


def test_last_is_the_last_finite_value_of_each_seed():
    values = np.array([[1.0, 5.0, 7.0], [2.0, NAN, NAN], [3.0, NAN, 9.0], [4.0, NAN, NAN]])
    assert plots.last(values).tolist() == [4.0, 5.0, 9.0]
    assert plots.last(np.array([[1.0, 2.0]])).tolist() == [1.0, 2.0]


def test_episode_returns_draws_every_episode_and_the_mean(tmp_path, drawn):
    returns = np.array([24.0, 63.0, 40.0, 41.0])
    plots.episode_returns(tmp_path / "r.png", returns, title="Returns")
    picture(tmp_path / "r.png")
    points, mean = drawn[0].get_lines()
    np.testing.assert_array_equal(points.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(points.get_ydata(), returns)
    assert set(mean.get_ydata()) == {42.0} and mean.get_label() == "mean 42.000"
    assert drawn[0].get_ylim()[0] == 0


def test_intervals_are_sorted_and_show_what_is_best_possible(tmp_path, drawn):
    rows = {"good": (300.0, 250.0, 350.0), "bad": (100.0, 50.0, 200.0)}
    plots.intervals(tmp_path / "i.png", rows, title="t", xlabel="x", best_possible=500.0)
    (axis,) = drawn
    assert [text.get_text() for text in axis.get_yticklabels()] == ["bad", "good"]
    left, right = axis.get_xlim()
    assert left == 0 and right > 500
    assert [500.0, 500.0] in [list(line.get_xdata()) for line in axis.lines]
    assert [100.0] in [list(line.get_xdata()) for line in axis.lines]


def test_colours_are_distinct():
    assert len(set(plots.COLOURS)) == len(plots.COLOURS) >= 6
