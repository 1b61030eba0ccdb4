"""Pictures: what is drawn where, in which colour, and what a GIF gives back."""

import itertools
import os
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.envs import CartPole, CartPoleState, TimeLimit, TimeLimitState
from rljax.runs import drawing
from rljax.runs.drawing import cartpole_frame, render
from rljax.runs.gif import save_gif

Image = pytest.importorskip("PIL.Image")
METRE = 300 / 3.2  # pixels, in a picture 600 wide: the track and 0.8 m on either side


def where(frame, colour):
    """Rows and columns of the pixels of exactly this colour."""
    return np.nonzero((frame == colour).all(-1))


def middle(frame, colour):
    columns = where(frame, colour)[1]
    return (columns.min() + columns.max() + 1) / 2


def swing(rows):
    """A trajectory that visits both ends of the track and both sides of the upright."""
    t = np.arange(rows)
    return np.stack([2.3 * np.sin(t / 5), 0.0 * t, 0.2 * np.cos(t / 3), 0.0 * t], axis=1)


def reopen(path):
    with Image.open(path) as gif:
        pictures = []
        for i in range(gif.n_frames):
            gif.seek(i)
            pictures.append((np.asarray(gif.convert("RGB")), gif.info["duration"]))
        return [p for p, _ in pictures], [d for _, d in pictures], gif.info["loop"]


def test_cart_stands_where_it_is():
    for position in (-2.4, -1.0, 0.0, 0.3, 2.4):
        frame = cartpole_frame((position, 0.0, 0.0, 0.0))
        assert frame.shape == (400, 600, 3) and frame.dtype == np.uint8
        assert abs(middle(frame, drawing.CART) - (300 + METRE * position)) <= 1


@pytest.mark.parametrize("length", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("angle", [-0.2, 0.0, 0.15])
def test_pole_is_to_scale_and_leans_right_for_positive_angles(length, angle):
    frame = cartpole_frame((0.5, 0.0, angle, 0.0), env=CartPole(length=length))
    rows, columns = where(frame, drawing.POLE)
    tip, upright = rows.min(), where(cartpole_frame((0.5, 0.0, 0.0, 0.0), env=CartPole(length=length)), drawing.POLE)[0]
    axle = upright.min() + 2 * length * METRE
    assert abs((axle - tip) - 2 * length * METRE * np.cos(angle)) <= 2
    lean = columns[rows <= tip + 3].mean() + 0.5 - (300 + METRE * 0.5)
    assert abs(lean - 2 * length * METRE * np.sin(angle)) <= 3
    assert np.sign(round(lean)) == np.sign(angle)


def test_a_hanging_pole_is_drawn_below_its_axle():
    up = where(cartpole_frame((0.0, 0.0, 0.0, 0.0))[70:], drawing.POLE)[0]
    down = where(cartpole_frame((0.0, 0.0, 3.14, 0.0))[70:], drawing.FAILED)[0]
    assert down.max() > up.max() + METRE / 2 and down.max() < 330 - 1


def test_a_pole_too_long_for_the_picture_shrinks_the_scale():
    rows, _ = where(cartpole_frame((0.0, 0.0, 0.0, 0.0), env=CartPole(length=5.0)), drawing.POLE)
    assert rows.min() > 60 and rows.max() - rows.min() > 150


def test_arrow_points_along_the_push():
    frames = {action: cartpole_frame((0.0, 0.0, 0.0, 0.0), action=action) for action in (None, 0, 1)}
    assert len(where(frames[None], drawing.FORCE)[0]) == 0
    assert where(frames[0], drawing.FORCE)[1].max() < 300 - METRE / 4
    assert where(frames[1], drawing.FORCE)[1].min() >= 300 + METRE / 4
    columns = np.bincount(where(frames[1], drawing.FORCE)[1])
    assert np.argmax(columns) > 300 + 0.45 * METRE and 0 < columns[-1] <= 3  # it widens, then ends in a point


def test_what_left_its_limits_turns_red():
    def colours(state, env=None):
        frame = cartpole_frame(state, env=env)[70:280]  # without the text
        return tuple(len(where(frame, c)[0]) > 100 for c in (drawing.CART, drawing.POLE, drawing.FAILED))

    assert colours((2.39, 0.0, 0.2, 0.0)) == (True, True, False)
    assert colours((0.0, 0.0, 0.22, 0.0)) == (True, False, True)
    assert colours((-2.41, 0.0, 0.0, 0.0)) == (False, True, True)
    assert colours((0.0, 0.0, 0.22, 0.0), CartPole(angle_threshold=0.3)) == (True, True, False)
    assert colours((0.0, 0.0, 3.0, 0.0), CartPole(angle_threshold=float("inf")))[2] is False


def test_nothing_is_drawn_outside_even_for_states_far_away():
    far = cartpole_frame((1e30, 0.0, 1e9, 0.0))
    assert len(where(far, drawing.CART)[0]) == 0 and len(where(far[200:280, 500:], drawing.FAILED)[0]) > 10  # a pointer
    assert cartpole_frame((9.0, 0, 0, 0), env=CartPole(position_threshold=float("inf"))).shape == far.shape


def test_env_is_found_through_wrappers_and_defaults_to_cartpole():
    state = (0.1, 0.0, 0.1, 0.0)
    default = cartpole_frame(state)
    for env in (CartPole(), TimeLimit(CartPole(), 200), TimeLimit(TimeLimit(CartPole(), 9), 9)):
        np.testing.assert_array_equal(cartpole_frame(state, env=env), default)
    short = TimeLimit(CartPole(length=jnp.float32(0.25)), 200)
    np.testing.assert_array_equal(cartpole_frame(state, env=short), cartpole_frame(state, env=CartPole(length=0.25)))
    assert (cartpole_frame(state, env=short) != default).any()


def test_every_way_to_say_a_trajectory_is_the_same():
    rows = swing(4)
    fields = CartPoleState(*jnp.asarray(rows, jnp.float32).T)
    singles = [jax.tree.map(lambda leaf, t=t: leaf[t], fields) for t in range(4)]
    expected = render(np.asarray(rows, np.float32))
    for states in (fields, TimeLimitState(fields, jnp.arange(4)), singles, [TimeLimitState(s, 0) for s in singles]):
        np.testing.assert_array_equal(render(states), expected)
    np.testing.assert_array_equal(cartpole_frame(singles[2], step=3), expected[2])
    np.testing.assert_array_equal(cartpole_frame(TimeLimitState(singles[2], 7), step=3), expected[2])


def test_both_counters_restart_after_either_end_of_an_episode():
    rows, actions = np.tile([0.2, 0.0, 0.1, 0.0], (6, 1)), np.array([0, 1, 0, 1, 0, 1])
    terminated, truncated = np.arange(6) == 1, np.arange(6) == 4
    frames = render(rows, actions=actions, terminated=terminated, truncated=truncated, caption="both ends")
    labels = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1)]
    for frame, row, action, (episode, step) in zip(frames, rows, actions, labels, strict=True):
        alone = cartpole_frame(row, action=action, episode=episode, step=step, caption="both ends")
        np.testing.assert_array_equal(frame, alone)
    assert (frames[0] != frames[2])[:30].any() and not (frames[0] != frames[2])[33:].any()  # the episode, nothing else


def test_without_flags_one_episode_is_counted_and_every_keeps_the_numbers():
    frames = render(swing(7), every=3)
    assert len(frames) == 3
    for frame, t in zip(frames, (0, 3, 6), strict=True):
        np.testing.assert_array_equal(frame, cartpole_frame(swing(7)[t], step=t + 1))


def test_frames_are_deterministic_and_not_disturbed_by_what_was_drawn_between():
    first = render(swing(5), actions=np.ones(5, int))
    cartpole_frame((1.0, 0.0, 0.0, 0.0), env=CartPole(length=0.3), caption="between", size=(320, 240))
    np.testing.assert_array_equal(render(swing(5), actions=np.ones(5, int)), first)
    assert all((a != b).any() for a, b in itertools.pairwise(first))


@pytest.mark.parametrize("size", [(300, 200), (601, 333), (400, 800)])
def test_captions_of_any_length_stay_inside(size):
    def ink(caption):
        plain, written = (cartpole_frame((0, 0, 0, 0), size=size, caption=text) for text in (None, caption))
        return np.nonzero((plain != written).any(-1))

    for caption in ("x", "greedy policy \u2013 20 000 steps", "word " * 80):
        rows, columns = ink(caption)
        assert columns.min() >= 2 and columns.max() < size[0] - 2
        assert 0.85 * size[1] < rows.min() and rows.max() < size[1] - 1


def test_gif_gives_back_frames_delays_and_loop(tmp_path):
    frames = render(swing(40), terminated=np.arange(40) == 20, caption="a caption that stands still")
    path = save_gif(tmp_path / "new" / "swing.gif", frames)
    assert path == tmp_path / "new" / "swing.gif" and os.listdir(path.parent) == ["swing.gif"]
    pictures, delays, loop = reopen(path)
    assert len(pictures) == 40 and set(delays) == {20} and loop == 0
    for picture, frame in zip(pictures, frames, strict=True):
        difference = np.abs(picture.astype(int) - frame)
        assert difference.mean() < 0.1 and difference.max() < 48
    still = (frames == frames[0]).all((0, 3))
    assert all((picture[still] == pictures[0][still]).all() for picture in pictures)  # no flicker
    assert (pictures[0][2, 300] == drawing.SKY).all() and path.stat().st_size < 200_000


def test_the_colour_of_a_single_frame_survives_the_shared_palette(tmp_path):
    rows = swing(30)
    rows[17, 2] = 0.4
    pictures, _, _ = reopen(save_gif(tmp_path / "fall.gif", render(rows)))
    reds = [len(where(picture[100:280, 80:520], drawing.FAILED)[0]) for picture in pictures]
    assert np.argmax(reds) == 17 and reds[17] > 300


def test_gif_of_few_colours_is_exact_and_of_many_is_close(tmp_path):
    few = np.zeros((3, 20, 30, 3), np.uint8)
    few[1, 5:9, 5:9], few[2, 2:4, 1:9] = (255, 0, 0), (0, 0, 255)
    np.testing.assert_array_equal(np.stack(reopen(save_gif(tmp_path / "few.gif", few))[0]), few)
    many = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    pictures, _, _ = reopen(save_gif(tmp_path / "many.gif", many))
    assert np.abs(np.stack(pictures).astype(int) - many).mean() < 30


def test_gif_holds_its_last_frame(tmp_path):
    film = render(swing(3), size=(300, 200))
    assert reopen(save_gif(tmp_path / "a.gif", film, hold=1.0))[1] == [20, 20, 1020]
    with pytest.raises(ValueError, match="hold is -1"):
        save_gif(tmp_path / "b.gif", film, hold=-1)


@pytest.mark.parametrize(("fps", "delay"), [(50, 20), (30, 30), (25, 40), (10, 100), (0.5, 2000)])
def test_gif_delays_are_rounded_to_hundredths(tmp_path, fps, delay):
    _, delays, _ = reopen(save_gif(tmp_path / "a.gif", render(swing(3), size=(300, 200)), fps=fps))
    assert delays == [delay] * 3


def test_equal_frames_keep_their_time(tmp_path):
    _, delays, _ = reopen(save_gif(tmp_path / "a.gif", render(swing(6), size=(300, 200))[[0, 0, 0, 0, 1, 1]]))
    assert sum(delays) == 6 * 20


def test_an_interrupted_gif_leaves_the_old_one(tmp_path, monkeypatch):
    path, frames = tmp_path / "a.gif", render(swing(3), size=(300, 200))
    before = save_gif(path, frames).read_bytes()

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_gif(path, frames[:2])
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.gif"]


GOOD = np.zeros((3, 4))


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: cartpole_frame((0.0, 0.0, 0.0)), ValueError, r"state has shape \(3,\)"),
        (lambda: cartpole_frame(GOOD), ValueError, "many with render"),
        (lambda: cartpole_frame("upright"), TypeError, "state is of type str; expected a CartPoleState"),
        (lambda: cartpole_frame((0, 0, np.nan, 0)), ValueError, "state: angle is nan; expected finite"),
        (lambda: cartpole_frame(GOOD[0], action=2), ValueError, r"action is 2; expected 0 \(left\) or 1"),
        (lambda: cartpole_frame(GOOD[0], size=(100, 100)), ValueError, r"at least \(300, 200\)"),
        (lambda: cartpole_frame(GOOD[0], size=600), ValueError, "size is 600"),
        (lambda: cartpole_frame(GOOD[0], caption="θ"), ValueError, "θ.*use ASCII"),
        (lambda: cartpole_frame(GOOD[0], env=SimpleNamespace(length=1)), TypeError, "no angle_threshold, position_thr"),
        (lambda: cartpole_frame(GOOD[0], env=CartPole(length=jnp.ones(2))), TypeError, "env.length"),
        (lambda: render(GOOD[0]), ValueError, r"states has shape \(4,\)"),
        (lambda: render(GOOD.T), ValueError, r"shape \(4, 3\)"),
        (lambda: render(CartPoleState(*np.zeros((4, 5, 2)))), ValueError, "select one"),
        (lambda: render(CartPoleState(0.0, 0.0, np.zeros(3), np.zeros(3))), TypeError, "type CartPoleState; expected"),
        (lambda: render(GOOD[:0]), ValueError, "T > 0"),
        (lambda: render([]), ValueError, "T > 0"),
        (lambda: render([[0, 0, 0, 0], [0, np.inf, 0, 0]]), ValueError, "velocity is inf in row 1 of 2"),
        (lambda: render(GOOD, actions=[0, 1]), ValueError, r"actions has shape \(2,\); expected \(3,\)"),
        (lambda: render(GOOD, actions=[0, 1, 0.5]), ValueError, "action is"),
        (lambda: render(GOOD, terminated=True), ValueError, r"terminated has shape \(\)"),
        (lambda: render(GOOD, truncated=np.zeros((3, 1), bool)), ValueError, r"truncated has shape \(3, 1\)"),
        (lambda: render(GOOD, every=0), ValueError, "every is 0"),
        (lambda: save_gif("a.gif", np.zeros((1, 9, 9, 3))), TypeError, "float64; expected uint8"),
        (lambda: save_gif("a.gif", np.zeros((9, 9, 3), np.uint8)), ValueError, r"shape \(9, 9, 3\)"),
        (lambda: save_gif("a.gif", np.zeros((0, 9, 9, 3), np.uint8)), ValueError, "at least one frame"),
        (lambda: save_gif("a.gif", np.zeros((1, 9, 9, 3), np.uint8), fps=60), ValueError, "fps is 60"),
    ],
)
def test_mistakes_are_named(draw, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        draw()
    assert not os.listdir(tmp_path)


def test_a_missing_pillow_is_named_with_its_cure(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (lambda: cartpole_frame(GOOD[0]), lambda: save_gif(tmp_path / "a", np.zeros((1, 9, 9, 3), np.uint8))):
        with pytest.raises(ImportError, match=r"Pillow.*pip install 'rljax-functional\[experiments\]'"):
            draw()
