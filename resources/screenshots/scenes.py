"""Drawn pictures that move, for the screenshots: nobody's photographs, and no claim about what the model makes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QLinearGradient, QPainter, QPainterPath, QPolygonF, QRadialGradient

from gui.pixels import from_qimage


def frame(name: str, width: int, height: int, time: float) -> np.ndarray:
    """(height, width, 3) uint8 of a scene; `time` goes around from 0 to 1."""
    image = QImage(width, height, QImage.Format.Format_RGB888)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    scale = max(width / 1600, height / 1000)           # scenes are drawn 1600 x 1000 and cut to the middle
    painter.translate(width / 2, height / 2)
    painter.scale(scale, scale)
    painter.translate(-800, -500)
    painter.setPen(Qt.PenStyle.NoPen)
    SCENES[name](painter, 2 * math.pi * time)
    painter.end()
    return from_qimage(image)


def clip(name: str, width: int, height: int, frames: int) -> np.ndarray:
    """(frames, height, width, 3) uint8."""
    return np.stack([frame(name, width, height, index / frames) for index in range(frames)])


def _sky(painter: QPainter, *colors: str) -> None:
    gradient = QLinearGradient(0, 0, 0, 1000)
    for index, color in enumerate(colors):
        gradient.setColorAt(index / (len(colors) - 1), QColor(color))
    painter.fillRect(QRectF(-400, -400, 2400, 1800), gradient)


def _glow(painter: QPainter, x: float, y: float, radius: float, color: str, strength: float) -> None:
    gradient = QRadialGradient(x, y, radius)
    inner, outer = QColor(color), QColor(color)
    inner.setAlphaF(strength)
    outer.setAlphaF(0)
    gradient.setColorAt(0, inner)
    gradient.setColorAt(1, outer)
    painter.setBrush(gradient)
    painter.drawEllipse(QPointF(x, y), radius, radius)


def _ridge(painter: QPainter, base: float, height: float, seed: int, color: str, rough: float = 1.0) -> None:
    """A line of hills: a few waves of different lengths on each other."""
    dice = random.Random(seed)
    waves = [(dice.uniform(0.002, 0.016) * rough, dice.uniform(0, 6.3), dice.uniform(0.2, 1.0)) for _ in range(5)]
    path = QPainterPath(QPointF(-400, 1400))
    for x in range(-400, 2001, 8):
        y = base - height * sum(size * math.sin(x * speed + start) / (1 + 60 * speed) for speed, start, size in waves)
        path.lineTo(x, y)
    path.lineTo(2000, 1400)
    painter.setBrush(QColor(color))
    painter.drawPath(path)


def _boat(painter: QPainter, x: float, y: float, size: float, tilt: float, sail: str) -> None:
    painter.save()
    painter.translate(x, y)
    painter.rotate(tilt)
    painter.scale(size, size)
    painter.setBrush(QColor(20, 24, 40, 70))
    painter.drawEllipse(QPointF(4, 34), 92, 9)
    painter.setBrush(QColor("#3b2a33"))
    painter.drawPolygon(QPolygonF([QPointF(-84, 0), QPointF(92, 0), QPointF(62, 30), QPointF(-60, 30)]))
    painter.setBrush(QColor("#8c4a3c"))
    painter.drawRect(QRectF(-84, -5, 176, 7))
    painter.setBrush(QColor("#2b2028"))
    painter.drawRect(QRectF(-3, -190, 5, 188))
    painter.setBrush(QColor(sail))
    painter.drawPolygon(QPolygonF([QPointF(6, -184), QPointF(88, -22), QPointF(6, -22)]))
    painter.setBrush(QColor(255, 244, 228, 205))
    painter.drawPolygon(QPolygonF([QPointF(-8, -160), QPointF(-66, -22), QPointF(-8, -22)]))
    painter.restore()


def _harbour(painter: QPainter, phase: float) -> None:
    _sky(painter, "#27406f", "#7d6a9b", "#f0a07c", "#ffd79b", "#ffd79b")
    _glow(painter, 1080, 520, 620, "#ffe7b0", 0.75)
    painter.setBrush(QColor("#fff4d6"))
    painter.drawEllipse(QPointF(1080, 520), 62, 62)
    for index, (x, y, length) in enumerate(((260, 190, 420), (880, 130, 520), (1350, 260, 360), (560, 300, 300))):
        drift = 14 * math.sin(phase + index)
        for part in range(4):
            painter.setBrush(QColor(255, 214, 190, 46))
            painter.drawRoundedRect(QRectF(x + drift + part * 46, y + part * 11 - 16, length - part * 66, 18), 9, 9)
    _ridge(painter, 560, 150, 4, "#6d6f9c")
    _ridge(painter, 596, 120, 9, "#4d5687")
    sea = QLinearGradient(0, 590, 0, 1000)
    for place, color in ((0, "#e59a80"), (0.18, "#8d7aa6"), (0.55, "#44578f"), (1, "#1c2b57")):
        sea.setColorAt(place, QColor(color))
    painter.fillRect(QRectF(-400, 596, 2400, 900), sea)
    dice = random.Random(2)
    for _ in range(330):
        depth = dice.random() ** 1.6
        y = 604 + 420 * depth
        x = dice.uniform(-100, 1700) + (10 + 40 * depth) * math.sin(phase + dice.uniform(0, 6.3))
        length = (16 + 120 * depth) * (0.6 + 0.4 * math.sin(phase + dice.uniform(0, 6.3)))
        near_sun = math.exp(-(((x - 1080) / (90 + 220 * depth)) ** 2))
        color = QColor(255, 222, 170) if dice.random() < 0.25 + near_sun else QColor(30, 40, 88)
        color.setAlphaF(min(1.0, 0.16 + 0.55 * near_sun))
        painter.setBrush(color)
        painter.drawEllipse(QPointF(x, y), length / 2, 1.4 + 3.4 * depth)
    for x, y, size, tilt, lag, sail in ((1290, 640, 0.42, 1.5, 0.0, "#e8d8d4"), (820, 690, 0.7, 2.0, 2.0, "#d9c6c9"),
                                        (470, 800, 1.35, 3.2, 1.0, "#f3e3d3")):
        sway, rise = 6 * size * math.sin(phase + lag), 7 * size * math.sin(phase + lag + 1)
        _boat(painter, x + sway, y + rise, size, tilt * math.sin(phase + lag + 0.6), sail)
    painter.setBrush(QColor("#2c3252"))
    for index in range(6):
        x = 620 + 110 * index + 60 * math.sin(phase / 1 + index)
        y, wing = 240 + 34 * ((index * 5) % 4), 7 * math.sin(2 * phase + index)
        path = QPainterPath(QPointF(x - 24, y - wing))
        path.quadTo(QPointF(x - 8, y - 10), QPointF(x, y))
        path.quadTo(QPointF(x + 8, y - 10), QPointF(x + 24, y - wing))
        path.quadTo(QPointF(x + 8, y - 4), QPointF(x, y + 4))
        path.quadTo(QPointF(x - 8, y - 4), QPointF(x - 24, y - wing))
        painter.drawPath(path)


def _balloons(painter: QPainter, phase: float) -> None:
    _sky(painter, "#3f86c9", "#8fc3e6", "#e5eef0", "#fbe3c0")
    _glow(painter, 300, 640, 700, "#fff2cf", 0.8)
    _ridge(painter, 640, 190, 12, "#8fa9bd")
    _ridge(painter, 720, 170, 21, "#6d8f86")
    for x, y, size, colors, lag in (
        (420, 330, 1.3, ("#d6433b", "#f2c14e"), 0.0), (980, 230, 0.85, ("#2f6db3", "#f7efe2"), 1.6),
        (1270, 430, 1.05, ("#e07b39", "#7b3f6d"), 3.1), (720, 500, 0.55, ("#3d8b6d", "#f4d58d"), 4.2),
    ):
        painter.save()
        painter.translate(x + 16 * math.sin(phase + lag), y + 12 * math.cos(phase + lag))
        painter.scale(size, size)
        for stripe in range(7, 0, -1):
            painter.setBrush(QColor(colors[stripe % 2]))
            path = QPainterPath(QPointF(0, -140))
            width = 112 * stripe / 7
            path.cubicTo(QPointF(width * 1.15, -140), QPointF(width * 1.25, 10), QPointF(width * 0.22, 96))
            path.lineTo(-width * 0.22, 96)
            path.cubicTo(QPointF(-width * 1.25, 10), QPointF(-width * 1.15, -140), QPointF(0, -140))
            painter.drawPath(path)
        _glow(painter, -34, -70, 90, "#ffffff", 0.35)
        painter.setBrush(QColor("#5b4030"))
        painter.drawRoundedRect(QRectF(-17, 122, 34, 28), 5, 5)
        painter.setBrush(QColor(60, 40, 30, 160))
        for side in (-1, 1):
            painter.drawPolygon(QPolygonF([QPointF(side * 22, 96), QPointF(side * 24, 96), QPointF(side * 17, 124),
                                           QPointF(side * 15, 124)]))
        painter.restore()
    _ridge(painter, 830, 150, 33, "#47705c")
    _ridge(painter, 930, 120, 41, "#2c4c3f")


def _aurora(painter: QPainter, phase: float) -> None:
    _sky(painter, "#050b1f", "#0b1c38", "#153a4c", "#1d4a52")
    dice = random.Random(5)
    for _ in range(260):
        light = 0.35 + 0.4 * math.sin(phase + dice.uniform(0, 6.3)) ** 2
        painter.setBrush(QColor(255, 255, 255, round(255 * light)))
        painter.drawEllipse(QPointF(dice.uniform(0, 1600), dice.uniform(0, 620)), 1.5, 1.5)
    for band, (color, base, lag) in enumerate((("#34e0a1", 420, 0.0), ("#5ad0ff", 330, 1.4), ("#b06cf0", 250, 2.6))):
        for x in range(-60, 1700, 10):
            sway = 60 * math.sin(x * 0.004 + phase + lag) + 34 * math.sin(x * 0.011 - phase + band)
            top = base - 250 + sway - 60 * math.sin(x * 0.021 + lag)
            ray = QLinearGradient(0, top, 0, base + sway + 60)
            strength = 0.10 + 0.14 * (0.5 + 0.5 * math.sin(x * 0.013 + 2 * math.sin(phase) + lag))
            for place, share in ((0.0, 0.0), (0.7, 1.0), (1.0, 0.0)):
                shade = QColor(color)
                shade.setAlphaF(strength * share)
                ray.setColorAt(place, shade)
            painter.fillRect(QRectF(x, top, 14, base + sway + 60 - top), ray)
    _ridge(painter, 700, 260, 17, "#12283a", 2)
    _ridge(painter, 770, 200, 29, "#0b1a28", 2)
    lake = QLinearGradient(0, 790, 0, 1000)
    lake.setColorAt(0, QColor("#1c5a58"))
    lake.setColorAt(1, QColor("#07131f"))
    painter.fillRect(QRectF(-400, 800, 2400, 700), lake)
    for _ in range(120):
        y = dice.uniform(806, 1000)
        painter.setBrush(QColor(120, 240, 200, 30))
        painter.drawEllipse(QPointF(dice.uniform(0, 1600) + 12 * math.sin(phase + y), y), dice.uniform(30, 130), 2)


def _lighthouse(painter: QPainter, phase: float) -> None:
    _sky(painter, "#142044", "#33416f", "#6b6790", "#b98a92")
    for index in range(9):
        x = (index * 240 + 40 * math.sin(phase + index)) % 2100 - 200
        for part in range(5):
            painter.setBrush(QColor(40, 44, 78, 60))
            painter.drawEllipse(QPointF(x + part * 60, 210 + 46 * (index % 3) + 10 * math.sin(part)), 120, 30)
    painter.save()
    painter.translate(1060, 330)
    painter.rotate(18 * math.sin(phase) - 6)
    for side in (-1, 1):
        beam = QLinearGradient(0, 0, side * 1200, 0)
        beam.setColorAt(0, QColor(255, 240, 190, 190))
        beam.setColorAt(1, QColor(255, 240, 190, 0))
        painter.setBrush(beam)
        far = side * 1200
        painter.drawPolygon(QPolygonF([QPointF(0, -8), QPointF(far, -130), QPointF(far, 130), QPointF(0, 8)]))
    painter.restore()
    painter.setBrush(QColor("#f1ebe4"))
    painter.drawPolygon(QPolygonF([QPointF(1020, 370), QPointF(1100, 370), QPointF(1138, 820), QPointF(982, 820)]))
    painter.setBrush(QColor("#b8443f"))
    for top in (430, 560):
        end = top + 62
        painter.drawPolygon(QPolygonF([QPointF(1014, top), QPointF(1106, top), QPointF(1113, end), QPointF(1007, end)]))
    painter.setBrush(QColor("#2b2d3f"))
    painter.drawRect(QRectF(1008, 358, 104, 14))
    painter.drawPolygon(QPolygonF([QPointF(1030, 300), QPointF(1090, 300), QPointF(1060, 264)]))
    _glow(painter, 1060, 330, 150, "#fff0b8", 0.95)
    _ridge(painter, 740, 90, 51, "#2a2b41", 2)
    sea = QLinearGradient(0, 760, 0, 1000)
    sea.setColorAt(0, QColor("#4a5580"))
    sea.setColorAt(1, QColor("#161d3c"))
    painter.fillRect(QRectF(-400, 800, 2400, 700), sea)
    for row in range(7):
        path = QPainterPath(QPointF(-40, 1100))
        for x in range(-40, 1660, 10):
            path.lineTo(x, 806 + 30 * row + (5 + 2 * row) * math.sin(x * 0.016 / (1 + row * 0.15) + phase + row * 1.3))
        path.lineTo(1660, 1100)
        painter.setBrush(QColor(26 + 3 * row, 36 + 3 * row, 74 + 4 * row, 120))
        painter.drawPath(path)


SCENES: dict[str, Callable[[QPainter, float], None]] = {
    "harbour": _harbour, "balloons": _balloons, "aurora": _aurora, "lighthouse": _lighthouse}
