"""Pictures of CartPole without a display: a state becomes a frame, a trajectory becomes frames (and, in `gif`, a GIF).

Host side, numpy and Pillow only. Track, pole (`2 * env.length`, turning about its axle) and the wedge of angles in
which the episode goes on are to scale; whatever left its limits turns red.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from rljax import checks
from rljax.envs import CartPole
from rljax.runs.gif import pillow

FIELDS = ("position", "velocity", "angle", "angular_velocity")
SKY, EARTH, WEDGE, BEYOND = (252, 252, 250), (241, 240, 236), (230, 238, 243), (249, 231, 229)
INK, MUTED, FAINT = (38, 50, 62), (112, 122, 132), (200, 204, 206)
CART, POLE, FORCE, FAILED = (62, 79, 96), (31, 119, 180), (235, 146, 32), (206, 50, 56)
GLYPHS = {*map(chr, range(32, 127)), *"±°…·"}  # what Pillow's own font can draw
FINE = 8  # what moves is drawn this many times larger, then averaged down


class _Scene(NamedTuple):
    """What no frame of a trajectory changes; lengths in pixels of the frame."""

    width: int
    height: int
    ground: int  # y of the rail
    em: float  # font size
    scale: float  # pixels per metre
    length: float  # m, half the pole
    angle_limit: float  # rad
    position_limit: float  # m
    background: Any  # image


def cartpole_frame(
    state: Any,
    *,
    env: Any = None,
    action: int | None = None,
    step: int | None = None,
    episode: int | None = None,
    caption: str | None = None,
    size: tuple[int, int] = (600, 400),
) -> np.ndarray:
    """One CartPole state as a picture, [height, width, 3] uint8. Equal arguments give equal bytes.

    `state` is a `CartPoleState` of scalars (or whatever has its four fields, or a `TimeLimitState` around it) or four
    numbers: m, m/s, rad, rad/s. `env` tells `length`, `angle_threshold` and `position_threshold` (wrappers are opened;
    None is `CartPole()`). `action` 0 draws a push to the left, 1 to the right. `size` is (width, height) in pixels.

    Raises `ValueError` for a state that is not four finite numbers, another action, a size under 300 x 200, or a
    caption outside ASCII (Pillow's own font has no more); `ImportError` where Pillow is missing.

    Example:
      >>> cartpole_frame((0.3, 0.0, 0.05, 0.0), action=1, step=37, caption="greedy policy").shape
      (400, 600, 3)
    """
    row = _rows("state", state, 1)
    return np.asarray(_draw(_scene_of(env, size), row, _push(action), step, episode, caption))


def render(
    states: Any,
    *,
    env: Any = None,
    actions: Any = None,
    terminated: Any = None,
    truncated: Any = None,
    caption: str | None = None,
    size: tuple[int, int] = (600, 400),
    every: int = 1,
) -> np.ndarray:
    """A recorded trajectory as frames, [F, height, width, 3] uint8: rows 0, `every`, `2 * every`, ... of its T rows.

    `states` is a `CartPoleState` with [T] leaves, a `TimeLimitState` around one, an array [T, 4], or a list of states.
    Row t is labelled step 1, 2, ... of its episode; `terminated` and `truncated`, [T] bool, say that the episode ended
    with row t, so both counters move on at row t + 1. `actions`, [T] of 0 or 1, are drawn on their own row. From a
    rollout select environment n, `jax.tree.map(lambda leaf: leaf[:, n], transition)`, and draw its `next_state`, which
    shows the fall as well, with its `action`, `terminated` and `truncated`.

    Raises `ValueError` for other shapes, an empty trajectory or a state that is not finite (naming its row), and what
    `cartpole_frame` raises.

    Example:
      >>> states = np.array([[0.0, 0.0, 0.01, 0.0], [0.0, 0.2, 0.01, -0.3], [0.1, 0.0, -0.02, 0.0]])
      >>> render(states, actions=[1, 0, 1], terminated=[False, True, False], size=(300, 200)).shape
      (3, 200, 300, 3)
    """
    checks.integer("every", every, 1)
    rows = _rows("states", states, 2)
    pushes = [0] * len(rows) if actions is None else [_push(a) for a in _column("actions", actions, len(rows))]
    ended = np.zeros(len(rows), bool)
    for name, flags in (("terminated", terminated), ("truncated", truncated)):
        ended |= False if flags is None else _column(name, flags, len(rows)).astype(bool)
    starts = np.append(True, ended[:-1])
    episode = np.cumsum(starts) if terminated is not None or truncated is not None else [None] * len(rows)
    step = 1 + np.arange(len(rows)) - np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))
    scene, chosen = _scene_of(env, size), range(0, len(rows), every)
    frames = np.empty((len(chosen), scene.height, scene.width, 3), np.uint8)
    for frame, t in zip(frames, chosen, strict=True):
        frame[:] = np.asarray(_draw(scene, rows[t], pushes[t], step[t], episode[t], caption))
    return frames


def _draw(scene: _Scene, row: np.ndarray, push: int, step: int | None, episode: int | None, caption: str | None) -> Any:
    position, angle = float(row[0]), float(row[2])
    off, fallen = abs(position) > scene.position_limit, abs(angle) > scene.angle_limit
    picture, em = scene.background.copy(), scene.em
    x = scene.width / 2 + scene.scale * min(max(position, -1e6), 1e6)
    _draw_cart(scene, picture, x, angle, push, off, fallen)
    draw, right = pillow().ImageDraw.Draw(picture), scene.width - em
    if not 0 <= x <= scene.width:  # out of the picture: point after it
        draw.text((em if x < 0 else right, scene.ground - em), "<" if x < 0 else ">", FAILED, _font(2 * em), "ms")
    counters = [f"{name} {value}" for name, value in (("episode", episode), ("step", step)) if value is not None]
    readings = ("position", _signed(position, 2) + " m", off), ("angle", _signed(math.degrees(angle), 1) + "°", fallen)
    for i, text in enumerate(counters):
        draw.text((em, (2 + 1.4 * i) * em), text, INK, _font(em), "ls")
    for i, (name, value, broken) in enumerate(readings):
        draw.text((right - 4.9 * em, (2 + 1.4 * i) * em), name, MUTED, _font(em), "rs")
        draw.text((right, (2 + 1.4 * i) * em), value, FAILED if broken else INK, _font(em), "rs")
    verdict = " · ".join(word for word, broken in (("off the track", off), ("fallen", fallen)) if broken)
    draw.text((scene.width / 2, 2 * em), verdict, FAILED, _font(1.2 * em), "ms")
    if caption:
        text, font = _fitted(caption, em, scene.width - 2 * em)
        draw.text((scene.width / 2, scene.height - 0.8 * em), text, INK, font, "ms")
    return picture


def _draw_cart(scene: _Scene, picture: Any, x: float, angle: float, push: int, off: bool, fallen: bool) -> None:
    """All that moves, in a window around the cart that is drawn `FINE` times larger and averaged into `picture`."""
    m, (sin, cos) = scene.scale, (math.sin(angle), math.cos(angle))
    pole, half, wheel, (side, tall) = 2 * scene.length * m, max(0.045 * m, 1.5), 0.075 * m, (0.25 * m, 0.2 * m)
    top = scene.ground - 1.5 * wheel - tall
    axle = top + 0.06 * m
    reach = max(1.1 * pole, side + 0.5 * m)
    low = max(scene.ground, axle - pole * cos + half)
    left, right = max(0, math.floor(x - reach)), min(scene.width, math.ceil(x + reach))
    upper, lower = max(0, math.floor(axle - reach)), min(scene.height, math.ceil(low) + 1)
    if left >= right:
        return
    library, shape = pillow(), (FINE * (right - left), FINE * (lower - upper))
    window = picture.crop((left, upper, right, lower)).resize(shape, library.Image.Resampling.NEAREST)
    draw = library.ImageDraw.Draw(window)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(FINE * (px - left), FINE * (py - upper)) for px, py in points]

    def disc(centre: tuple[float, float], radius: float, colour: tuple[int, ...]) -> None:
        draw.circle(at(centre)[0], FINE * radius, colour)

    if scene.angle_limit < math.pi:
        rim = [scene.angle_limit * (i / 16 - 1) for i in range(33)]
        points = [(x + 1.08 * pole * math.sin(a), axle - 1.08 * pole * math.cos(a)) for a in rim]
        draw.polygon(at((x, axle), *points), WEDGE)
    for hub in (x - 0.15 * m, x + 0.15 * m):
        disc((hub, scene.ground - wheel), wheel, INK)
        disc((hub, scene.ground - wheel), 0.4 * wheel, FAINT)
    draw.rounded_rectangle(at((x - side, top), (x + side, top + tall)), FINE * 0.06 * m, FAILED if off else CART)
    end, colour = (x + (pole - half) * sin, axle - (pole - half) * cos), FAILED if fallen else POLE
    draw.line(at((x, axle), end), colour, round(FINE * 2 * half))
    disc(end, half, colour)
    disc((x, axle), half, colour)
    disc((x, axle), 0.55 * half, SKY)
    if push:
        y, tail, neck, head = top + tall / 2, *(x + push * (side + d * m) for d in (0.06, 0.24, 0.4))
        draw.line(at((tail, y), (neck, y)), FORCE, round(FINE * 0.07 * m))
        draw.polygon(at((neck, y - 0.1 * m), (head, y), (neck, y + 0.1 * m)), FORCE)
    picture.paste(window.reduce(FINE), (left, upper))


def _scene_of(env: Any, size: tuple[int, int]) -> _Scene:
    env = CartPole() if env is None else _unwrapped(env, "position_threshold")
    names = ("length", "angle_threshold", "position_threshold")
    missing = [name for name in names if not hasattr(env, name)]
    if missing:
        raise TypeError(f"env {env!r} has no {', '.join(missing)}; expected a CartPole, a wrapper of one, or None.")
    for name in names:
        checks.real(f"env.{name}", getattr(env, name), 0, above=True)
    if np.shape(size) != (2,) or any(n != int(n) or n < low for n, low in zip(size, (300, 200), strict=True)):
        raise ValueError(f"size is {size!r}; expected (width, height) in whole pixels, at least (300, 200).")
    return _scene(int(size[0]), int(size[1]), *(float(getattr(env, name)) for name in names))


@functools.lru_cache(maxsize=2)
def _scene(width: int, height: int, length: float, angle_limit: float, position_limit: float) -> _Scene:
    """The background, drawn once: sky, ground, rail, a tick per metre, and what lies beyond the limits."""
    library, zoom, em = pillow(), 4, max(9.0, 15 * min(width / 600, height / 400))
    ground, middle = round(0.72 * height), width / 2
    track = position_limit if position_limit < math.inf else float(CartPole().position_threshold)
    m = min(middle / (track + 0.8), (middle - 2.5 * em) / track, (ground - 4.5 * em) / (2.2 * length + 0.3))
    fine = library.Image.new("RGB", (zoom * width, zoom * height), SKY)
    draw, thin = library.ImageDraw.Draw(fine), height / 400

    def block(left: float, top: float, right: float, bottom: float, colour: tuple[int, ...]) -> None:
        draw.rectangle([round(zoom * edge) for edge in (left, top, right, bottom)], colour)

    labels, haze = [], ground - round(4.5 * em)
    block(0, ground, width, height, EARTH)
    if position_limit < math.inf:
        for side in (-1, 1):
            x, edge = middle + side * track * m, middle + side * middle
            for y in range(haze):  # thins out upwards
                tint = tuple(round(b + (s - b) * y / haze) for s, b in zip(SKY, BEYOND, strict=True))
                block(min(x, edge), ground - y - 1, max(x, edge), ground - y, tint)
            block(x - thin, ground - 0.6 * em, x + thin, ground + 0.6 * em, FAILED)
            labels.append((x, f"{side * track:+.3g} m", FAILED))
    block(0, ground, width, ground + 2 * thin, FAINT)
    block(middle - track * m, ground, middle + track * m, ground + 2 * thin, MUTED)
    spacing = next(s * 10.0**e for e in range(-3, 9) for s in (1, 2, 5) if s * 10.0**e * m >= 3.5 * em)
    for n in range(-int(track / spacing), int(track / spacing) + 1):
        x = middle + n * spacing * m
        block(x - thin / 2, ground, x + thin / 2, ground + 0.5 * em, MUTED)
        if all(abs(x - other) >= 2.4 * em for other, _, colour in labels if colour == FAILED):
            labels.append((x, f"{n * spacing:+g}" if n else "0", MUTED))
    for x, text, colour in labels:
        draw.text((zoom * x, zoom * (ground + 1.8 * em)), text, colour, _font(zoom * 0.8 * em), "ms")
    return _Scene(width, height, ground, em, m, length, angle_limit, position_limit, fine.reduce(zoom))


def _fitted(caption: str, em: float, width: float) -> tuple[str, Any]:
    """The caption and a font in which it fits: shrunk to two thirds at most, then cut."""
    text = caption.translate({0x2013: "-", 0x2014: "-", 0x2212: "-"})  # dashes and minus
    if not GLYPHS.issuperset(text):
        raise ValueError(f"caption {caption!r} has {sorted({*text} - GLYPHS)}, which Pillow's font lacks; use ASCII.")
    font = _font(max(em / 1.5, em * min(1.0, width / _font(em).getlength(text))))
    while font.getlength(text) > width:
        text = text.rstrip("…")[:-1] + "…"
    return text, font


@functools.lru_cache(maxsize=64)
def _font(size: float) -> Any:
    return pillow().ImageFont.load_default(size)


def _signed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:+.{decimals}f}" if abs(value) < 1000 else f"{value:+.0e}"  # 0.0: never -0.0


def _unwrapped(thing: Any, name: str) -> Any:
    while not hasattr(thing, name) and hasattr(thing, "inner"):
        thing = thing.inner
    return thing


def _rows(name: str, states: Any, ndim: int) -> np.ndarray:
    """Finite float64 [4] or [T, 4] of whatever holds states."""
    many = isinstance(states, list)
    given = [_unwrapped(state, FIELDS[0]) for state in (states if many else [states])]
    try:
        parts = [np.stack([getattr(s, f) for f in FIELDS], -1) if hasattr(s, FIELDS[0]) else s for s in given]
        rows = np.asarray(parts if many else parts[0], np.float64)
    except (TypeError, ValueError, AttributeError) as error:
        expected = f"a CartPoleState, a TimeLimitState around one, or numbers in the order {', '.join(FIELDS)}"
        raise TypeError(f"{name} is of type {type(states).__name__}; expected {expected} ({error}).") from error
    if rows.ndim != ndim or rows.shape[-1] != 4 or not len(rows):
        raise ValueError(
            f"{name} has shape {rows.shape}, fields last; expected {'(4,)' if ndim == 1 else '(T, 4), T > 0'}. Draw "
            "one with cartpole_frame, many with render; of many environments select one: leaf[:, n] of every leaf."
        )
    for bad in np.argwhere(~np.isfinite(rows))[:1]:
        where = f" in row {bad[0]} of {len(rows)}" if ndim == 2 else ""
        problem = f"{name}: {FIELDS[bad[-1]]} is {rows[*bad]}{where}; expected finite numbers."
        raise ValueError(problem + " Draw only what comes before it, and look there for what diverged.")
    return rows


def _push(action: Any) -> int:
    """-1 to the left, +1 to the right, 0 for no arrow."""
    if action is None:
        return 0
    if np.shape(action) != () or int(action) != action or int(action) not in (0, 1):
        raise ValueError(f"action is {action!r}; expected 0 (left) or 1 (right).")
    return 2 * int(action) - 1


def _column(name: str, values: Any, rows: int) -> np.ndarray:
    column = np.asarray(values)
    if column.shape != (rows,):
        raise ValueError(f"{name} has shape {column.shape}; expected ({rows},), one for each state.")
    return column
