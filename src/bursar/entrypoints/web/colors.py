"""Colours as `#rrggbb`: contrast as WCAG counts it, and lightness as the eye sees it (OKLCH).

Pure arithmetic, nothing of brands or pages. Floats are right here: these are colours, not money.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

_HEX = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)

# The constants of the OKLab space, as published with it.
_RGB_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LMS_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_LAB_TO_LMS = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
_LMS_TO_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)

Triple = tuple[float, float, float]


def is_hex(color: str) -> bool:
    """Whether `color` is written as #rrggbb."""
    return _HEX.fullmatch(color) is not None


def _channels(color: str) -> Triple:
    return (int(color[1:3], 16) / 255, int(color[3:5], 16) / 255, int(color[5:7], 16) / 255)


def _hex(channels: Triple) -> str:
    return "#" + "".join(f"{round(min(1.0, max(0.0, c)) * 255):02x}" for c in channels)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


def _encoded(channel: float) -> float:
    if channel <= 0.0031308:
        return channel * 12.92
    return float(1.055 * channel ** (1 / 2.4) - 0.055)


def _times(matrix: tuple[Triple, Triple, Triple], vector: Triple) -> Triple:
    first, second, third = (sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


@lru_cache(maxsize=1024)
def luminance(color: str) -> float:
    """Relative luminance, 0 for black to 1 for white."""
    red, green, blue = (_linear(channel) for channel in _channels(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(color: str, ground: str, share: float) -> str:
    """`share` (0 to 1) of `color` laid over `ground`."""
    pairs = zip(_channels(color), _channels(ground), strict=True)
    red, green, blue = (c * share + g * (1 - share) for c, g in pairs)
    return _hex((red, green, blue))


def to_oklch(color: str) -> Triple:
    """Lightness (0 to 1), chroma and hue (radians)."""
    red, green, blue = (_linear(channel) for channel in _channels(color))
    long, medium, short = (math.cbrt(v) for v in _times(_RGB_TO_LMS, (red, green, blue)))
    lightness, a, b = _times(_LMS_TO_LAB, (long, medium, short))
    return lightness, math.hypot(a, b), math.atan2(b, a)


def _linear_rgb(lightness: float, chroma: float, hue: float) -> Triple:
    lab = (lightness, chroma * math.cos(hue), chroma * math.sin(hue))
    long, medium, short = (v**3 for v in _times(_LAB_TO_LMS, lab))
    return _times(_LMS_TO_RGB, (long, medium, short))


def from_oklch(lightness: float, chroma: float, hue: float) -> str:
    """The colour on screen; chroma is taken back where the screen can't show so much."""
    low, high = 0.0, chroma
    rgb = _linear_rgb(lightness, chroma, hue)
    if not _shown(rgb):
        for _ in range(12):
            middle = (low + high) / 2
            if _shown(_linear_rgb(lightness, middle, hue)):
                low = middle
            else:
                high = middle
        rgb = _linear_rgb(lightness, low, hue)
    red, green, blue = (_encoded(max(0.0, channel)) for channel in rgb)
    return _hex((red, green, blue))


def _shown(rgb: Triple) -> bool:
    return all(-0.0005 <= channel <= 1.0005 for channel in rgb)
