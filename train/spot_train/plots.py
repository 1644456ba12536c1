"""The course of a training run as one small SVG picture."""

from __future__ import annotations

from collections.abc import Sequence

from spot_train.checkpoint import Epoch

__all__ = ["history_svg"]

_WIDTH, _HEIGHT, _MARGIN = 640, 320, 48


def history_svg(history: Sequence[Epoch]) -> str:
    """Loss (left axis) and accuracy (right axis, 0 to 1) on the training pictures, epoch by epoch."""
    most = max((epoch.loss for epoch in history), default=1.0) or 1.0
    losses = [epoch.loss / most for epoch in history]
    accuracies = [epoch.accuracy for epoch in history]
    marks = [
        f'<text x="{_x(i, len(history)):.0f}" y="{_HEIGHT - _MARGIN + 18}" text-anchor="middle">'
        f"{epoch.phase} {epoch.epoch}</text>"
        for i, epoch in enumerate(history)
        if i % max(1, len(history) // 8) == 0
    ]
    bottom, right = _HEIGHT - _MARGIN, _WIDTH - _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            f'<path d="M{_MARGIN} {_MARGIN}V{bottom}H{right}V{_MARGIN}" fill="none" stroke="#888"/>',
            _line(losses, "#b33a3a"),
            _line(accuracies, "#2a6f97"),
            f'<text x="{_MARGIN}" y="{_MARGIN - 12}" fill="#b33a3a">loss, 0 to {most:.2f}</text>',
            f'<text x="{right}" y="{_MARGIN - 12}" fill="#2a6f97" text-anchor="end">accuracy, 0 to 1</text>',
            *marks,
            "</svg>\n",
        ]
    )


def _line(values: Sequence[float], colour: str) -> str:
    points = " ".join(f"{_x(i, len(values)):.1f},{_y(value):.1f}" for i, value in enumerate(values))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _x(index: int, count: int) -> float:
    return _MARGIN + (_WIDTH - 2 * _MARGIN) * (index / max(1, count - 1))


def _y(value: float) -> float:
    return _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * value
