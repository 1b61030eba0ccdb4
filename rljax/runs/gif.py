"""Frames as a GIF, by Pillow: no display, no ffmpeg, no flicker."""

from __future__ import annotations

import collections
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rljax import checks
from rljax.runs import folder

UNCHANGED = 255  # the index that leaves a pixel as it was


def pillow() -> ModuleType:
    """Pillow with the parts that are used here, or how to get it."""
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError as error:
        message = "drawing needs Pillow, which is not installed: pip install 'rljax-functional[experiments]'"
        raise ImportError(message) from error
    return PIL


def save_gif(path: str | os.PathLike[str], frames: Any, *, fps: float = 50, hold: float = 0.0) -> Path:
    """Writes `frames`, [F, height, width, 3] uint8, as a GIF that loops for ever; returns its path.

    All frames share one palette and none is dithered: what stands still does not flicker. GIF counts delays in
    hundredths of a second, so a frame stays `round(100 / fps)` of them: 50 (CartPole's real time), 25, 20 and 10 are
    exact, 30 plays at 33. Viewers slow down what claims more than 50; render every second row instead. Runs of equal
    frames may be stored as one with their delays added. The last one stays `hold` seconds longer. The file appears
    whole or not at all: it is written beside its destination, in a folder made if need be, then renamed.

    Raises `TypeError` for frames that are not uint8; `ValueError` for other shapes, no frames, `fps` outside [0.1, 50],
    `hold` outside [0, 600].

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as parent:
      ...     save_gif(Path(parent) / "short.gif", np.zeros((2, 20, 30, 3), np.uint8)).name
      'short.gif'
    """
    checks.real("fps", fps, 0.1, 50)
    checks.real("hold", hold, 0, 600)
    frames, path = np.asarray(frames), Path(path)
    if frames.dtype != np.uint8:
        raise TypeError(f"frames are {frames.dtype}; expected uint8, 0 to 255, as render returns.")
    if frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise ValueError(f"frames have shape {frames.shape}; expected [F, height, width, 3] with at least one frame.")
    image, (indices, palette) = pillow().Image, _indexed(frames)
    same = indices[1:] == indices[:-1]
    indices[1:][same] = UNCHANGED
    pictures = [image.fromarray(picture) for picture in indices]
    for picture in pictures:
        picture.putpalette(palette)
    path.parent.mkdir(parents=True, exist_ok=True)
    delays = [10 * round(100 / fps)] * len(pictures)
    delays[-1] += 10 * round(100 * hold)
    how = {"save_all": True, "append_images": pictures[1:], "duration": delays, "loop": 0}
    how |= {"palette": palette, "transparency": UNCHANGED, "disposal": 1, "optimize": False}
    return folder.write_atomically(path, lambda file: pictures[0].save(file, "GIF", **how))


def _indexed(frames: np.ndarray) -> tuple[np.ndarray, bytes]:
    """Frames as indices [F, H, W] into one palette of 255 colours: the commonest exactly, the others by median cut.

    By hand, because Pillow's own look-up rounds colours to 6 bits, which makes bands of pale tints.
    """
    image, seen = pillow().Image, collections.Counter()
    for frame in frames:
        seen.update({colour: n for n, colour in image.fromarray(frame).getcolors(frame.size)})
    colours = np.array([colour for colour, _ in seen.most_common()], np.uint8)
    exact = len(colours) if len(colours) < 256 else 96
    palette, rest = colours[:exact], colours[exact:]
    if len(rest):  # each once, so that the red of a single fallen frame is not outvoted
        cut = np.array(image.fromarray(rest[None]).quantize(255 - len(palette)).getpalette(), np.uint8).reshape(-1, 3)
        palette = np.append(palette, cut, axis=0)[:255]
    nearest = np.zeros(1 << 24, np.uint8)
    for part in np.array_split(colours.astype(np.int32), 1 + len(colours) // 4096):
        nearest[_code(part)] = np.square(part[:, None] - palette).sum(-1).argmin(1)
    flat = palette.tobytes()
    return np.stack([nearest[_code(frame.astype(np.int32))] for frame in frames]), flat.ljust(768, b"\0")


def _code(colours: np.ndarray) -> np.ndarray:
    return colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]
