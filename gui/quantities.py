"""Times and sizes for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """For example "40 s", "3 min", "1 h 20 min". Rounded the more, the longer it is: nobody can promise seconds."""
    if seconds < 55:
        return f"{max(1, round(seconds) if seconds < 10 else 5 * round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(5 * round(minutes / 5), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: float) -> str:
    """Bytes, for example "7 GB", "1.4 GB", "250 MB"; as macOS counts them, in powers of 1000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= 0.95 * scale:
            value = count / scale
            return f"{value:.1f} {unit}" if value < 9.95 and unit == "GB" else f"{value:.0f} {unit}"
    return f"{max(1, round(count / 1e3))} kB"
