"""The course of a run as a picture: one SVG file that needs nothing else.

::

    ┌ norm ────────────────┐   one line per variable; those that move most, and the others left out
    │  ......              │   legend: colour, name
    └──────────────── step ┘
    ┌ relative change ─────┐   decades
    └──────────────── step ┘
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from coldframe.checkpoint.course import Course, Line
from coldframe.records import dataclass

LINES: Final = 12  # more cannot be told apart
# Okabe and Ito's colours, which people of all kinds of colour vision tell apart; then the same, dashed.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LEFT, _WIDTH, _HEIGHT, _GAP, _TOP = 70, 560, 220, 60, 40


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where values lie on an axis: from `low` at `start` to `high` at `end`, in pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)


def to_svg(course: Course, *, title: str = "") -> str:
    """Return the course of a run as an SVG picture: norms above, relative changes below, by step."""
    lines = _most_moved(course.lines)
    steps = [float(i if p.step is None else p.step) for i, p in enumerate(course.points)]
    x = _Scale(min(steps), max(steps), _LEFT, _LEFT + _WIDTH)
    height = _TOP + 2 * (_HEIGHT + _GAP)
    body = [
        f'<text x="{_LEFT}" y="22" font-size="15">{_text(title)}</text>',
        *_panel(lines, "norm", [v.norms for v in lines], steps, x, _TOP, logarithmic=False),
        *_panel(
            lines, "relative change", [v.relative for v in lines], steps, x, _TOP + _HEIGHT + _GAP, logarithmic=True
        ),
        *_legend(lines, len(course.lines) - len(lines)),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="{height}" viewBox="0 0 1000 {height}"'
        ' font-family="sans-serif" font-size="11">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _most_moved(lines: Sequence[Line]) -> list[Line]:
    def moved(line: Line) -> float:
        return max((v for v in line.relative if v is not None and math.isfinite(v)), default=0.0)

    chosen = sorted(lines, key=moved, reverse=True)[:LINES]
    return [v for v in lines if v in chosen]


def _panel(
    lines: Sequence[Line],
    label: str,
    rows: Sequence[Sequence[float | None]],
    steps: Sequence[float],
    x: _Scale,
    top: float,
    *,
    logarithmic: bool,
) -> list[str]:
    shown = [[_placed(v, logarithmic=logarithmic) for v in row] for row in rows]
    known = [v for row in shown for v in row if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if logarithmic:
        low, high = math.floor(low), math.ceil(high)
    y = _Scale(low, high, top + _HEIGHT, top)
    parts = [
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#bbb"/>',
        f'<text x="{_LEFT}" y="{top - 6}">{label}</text>',
    ]
    for i in range(5):
        value = low + (high - low) * i / 4
        written = f"1e{value:.4g}" if logarithmic else f"{value:.4g}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{written}</text>')
        step = x.low + (x.high - x.low) * i / 4
        parts.append(f'<text x="{x(step):.1f}" y="{top + _HEIGHT + 16}" text-anchor="middle">{step:.6g}</text>')
    for i, row in enumerate(shown):
        points = [f"{x(s):.1f},{y(v):.1f}" for s, v in zip(steps, row, strict=True) if v is not None]
        name = f"<title>{_text(lines[i].name)}</title>"
        if len(points) == 1:
            cx, cy = points[0].split(",")
            parts.append(f'<circle cx="{cx}" cy="{cy}" r="3" fill="{_colour(i)}">{name}</circle>')
        elif points:
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" {_stroke(i)}>{name}</polyline>')
    return parts


def _placed(value: float | None, *, logarithmic: bool) -> float | None:
    """Return where a value lies on its axis; None where it has no place there."""
    if value is None or not math.isfinite(value) or (logarithmic and value <= 0):
        return None
    return math.log10(value) if logarithmic else value


def _legend(lines: Sequence[Line], more: int) -> list[str]:
    left = _LEFT + _WIDTH + 20
    parts = []
    for i, line in enumerate(lines):
        at = _TOP + 10 + 18 * i
        parts.append(f'<line x1="{left}" y1="{at}" x2="{left + 24}" y2="{at}" {_stroke(i)}/>')
        parts.append(f'<text x="{left + 30}" y="{at + 4}">{_text(line.name)}</text>')
    if more:
        parts.append(f'<text x="{left}" y="{_TOP + 14 + 18 * len(lines)}">and {more} more that move less</text>')
    return parts


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]


def _stroke(i: int) -> str:
    dashes = ' stroke-dasharray="6 3"' if i >= len(_COLOURS) else ""
    return f'stroke="{_colour(i)}" stroke-width="1.6"{dashes}'


def _text(value: str) -> str:
    """Return text as XML holds it: markup escaped, what XML cannot hold replaced."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in value))
