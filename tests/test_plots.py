"""Figures: written whole, readable again, and drawn from the right numbers."""

import sys
from contextlib import contextmanager

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
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
    """The axis of every figure that is drawn, kept for a look."""
    kept, real = [], plots.figure

    @contextmanager
    def figure(*args, **options):
        with real(*args, **options) as axis:
            kept.append(axis)
            yield axis

    monkeypatch.setattr(plots, "figure", figure)
    return kept


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


def test_learning_curves_draw_the_interquartile_mean_and_the_band(tmp_path, drawn):
    values = {"plain": curves(), "shaped": curves(seed=1)}
    plots.learning_curves(tmp_path / "c.png", values, title="t", xlabel="x", ylabel="y", best_possible=200.0)
    picture(tmp_path / "c.png")
    (axis,) = drawn
    lines = {line.get_label(): line for line in axis.get_lines()}
    for name, value in values.items():
        np.testing.assert_array_equal(lines[name].get_xdata(), np.arange(1, 13))
        np.testing.assert_allclose(lines[name].get_ydata(), interquartile_mean(value, axis=1))
    assert any(set(np.asarray(line.get_ydata())) == {200.0} for line in axis.get_lines())
    for band, value in zip(axis.collections, values.values(), strict=True):
        low, high = np.quantile(value, [0.05, 0.95], axis=1)
        corners = band.get_paths()[0].vertices
        assert corners[:, 1].min() == pytest.approx(low.min()) and corners[:, 1].max() == pytest.approx(high.max())
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["plain", "shaped"]
    assert "9 seeds" in axis.get_legend().get_title().get_text()
    assert len({line.get_color() for line in lines.values()}) >= 2


def dots(axis):
    """(step, value) of the marks of seeds that stopped."""
    return sorted(
        (float(x), float(y))
        for line in axis.get_lines()
        if line.get_marker() == "o"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


def test_a_stopped_seed_counts_with_its_last_value_until_half_have_stopped(tmp_path, drawn):
    values = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 4.0, 6.0, 100.0], [3.0, 8.0, NAN, NAN], [5.0, NAN, NAN, NAN]])
    plots.learning_curves(tmp_path / "c.png", {"a": values}, title="t", xlabel="x", ylabel="y")
    line = drawn[0].get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 5.0, 7.0])  # the third row counts as 3 8 6 100
    assert dots(drawn[0]) == [(2, 6), (2, 100), (3, 8)]
    picture(tmp_path / "c.png")


def test_a_curve_ends_where_all_seeds_have_stopped(tmp_path, drawn):
    values = np.array([[1.0, 3.0], [2.0, NAN], [NAN, NAN], [NAN, NAN]])
    plots.learning_curves(tmp_path / "c.png", {"a": values, "b": np.ones((4, 2))}, title="t", xlabel="x", ylabel="y")
    lines = {line.get_label(): line for line in drawn[0].get_lines()}
    np.testing.assert_array_equal(lines["a"].get_xdata(), [1, 2])
    np.testing.assert_array_equal(lines["a"].get_ydata(), [2.0, 2.5])
    np.testing.assert_array_equal(lines["b"].get_xdata(), [1, 2, 3, 4])
    assert dots(drawn[0]) == [(1, 3), (2, 2)]
    assert picture(tmp_path / "c.png").shape == (675, 1200, 3)


def test_nobody_stopped_nothing_marked(tmp_path, drawn):
    plots.learning_curves(tmp_path / "c.png", {"a": curves()}, title="t", xlabel="x", ylabel="y")
    assert dots(drawn[0]) == [] and len(drawn[0].get_lines()) == 1


def test_one_seed_is_called_one(tmp_path, drawn):
    plots.learning_curves(tmp_path / "c.png", {"a": curves(seeds=1)}, title="t", xlabel="x", ylabel="y")
    assert drawn[0].get_legend().get_title().get_text() == "one seed"
    np.testing.assert_allclose(drawn[0].get_lines()[0].get_ydata(), curves(seeds=1)[:, 0])


def test_no_curve_is_dropped(tmp_path, drawn):
    values = {f"setting {i}": curves(seed=i) for i in range(8)}
    plots.learning_curves(tmp_path / "c.png", values, title="t", xlabel="x", ylabel="y")
    assert [text.get_text() for text in drawn[0].get_legend().get_texts()] == list(values)


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


def test_colours_are_distinct():
    assert len(set(plots.COLOURS)) == len(plots.COLOURS) >= 6
