"""The accent colours of the pages, computed from a shop's one brand colour. Pure.

Owns the choice of fill, label, text, soft ground and hover for both schemes, so that any brand
stays readable. It knows the grounds they lie on and nothing else of the style sheet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bursar import errors
from bursar.entrypoints.web import colors

WHITE = "#ffffff"
NEAR_BLACK = "#0b1213"
GREY_CHROMA = 0.03
LABEL_CONTRAST = 4.5
EDGE_CONTRAST = 3.0
DARKEN_AT_MOST = 0.06
STEP = 0.004
# The hover moves away from its label, so that the label only gains contrast.
HOVER_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Scheme:
    """The grounds of one scheme and what is asked of the accent on them."""

    canvas: str
    surface: str
    sunken: str
    text: str
    edge: str
    soft_share: float
    text_contrast: float
    fill_contrast: float
    lighter: bool


LIGHT = Scheme("#f5f9f8", "#ffffff", "#ebf1f1", "#101d1d", "#788382", 0.09, 4.6, 0.0, False)
DARK = Scheme("#0c1414", "#141d1d", "#1d2727", "#e8eeee", "#6e7a7a", 0.16, 6.5, 3.4, True)


@dataclass(frozen=True, slots=True)
class Accent:
    """The accent in one scheme. `border` is the button's: the fill, or an edge when it is faint."""

    fill: str
    label: str
    hover: str
    border: str
    text: str
    soft: str


def _moved(color: str, step: float, done: Callable[[str], bool]) -> str:
    """`color` with its lightness moved by `step` until `done`, or until black or white."""
    lightness, chroma, hue = colors.to_oklch(color)
    while not done(color) and 0.0 < lightness < 1.0:
        lightness = min(1.0, max(0.0, lightness + step))
        color = colors.from_oklch(lightness, chroma, hue)
    return color


def _fill_and_label(brand: str, scheme: Scheme) -> tuple[str, str]:
    lightness, chroma, _ = colors.to_oklch(brand)
    if chroma < GREY_CHROMA:
        # A black brand would look like a disabled button in dark, a white one in light: ink.
        keeps = not scheme.lighter and lightness < 0.3
        return (brand if keeps else scheme.text), scheme.canvas
    fill = _moved(brand, STEP, lambda c: colors.contrast(c, scheme.surface) >= scheme.fill_contrast)
    start = colors.to_oklch(fill)[0]
    darker = _moved(
        fill,
        -STEP,
        lambda c: (
            colors.contrast(c, WHITE) >= LABEL_CONTRAST
            or colors.to_oklch(c)[0] <= start - DARKEN_AT_MOST
        ),
    )
    if colors.contrast(darker, WHITE) >= LABEL_CONTRAST:
        return darker, WHITE
    return fill, NEAR_BLACK


def accent(brand: str, scheme: Scheme) -> Accent:
    """The accent of `brand` (`#rrggbb`) in a scheme. Raises errors.Misconfigured for a bad hex."""
    if not colors.is_hex(brand):
        raise errors.Misconfigured(
            f"BURSAR_BRAND_ACCENT is {brand!r}, which is no colour; write it like #0b6477."
        )
    fill, label = _fill_and_label(brand.lower(), scheme)
    lightness, chroma, hue = colors.to_oklch(fill)
    away = -HOVER_STEP if colors.luminance(label) > colors.luminance(fill) else HOVER_STEP
    soft = colors.mixed(fill, scheme.surface, scheme.soft_share)
    grounds = (scheme.canvas, scheme.surface, scheme.sunken, soft)
    text = _moved(
        scheme.text if chroma < GREY_CHROMA else fill,
        STEP if scheme.lighter else -STEP,
        lambda c: min(colors.contrast(c, ground) for ground in grounds) >= scheme.text_contrast,
    )
    faint = min(colors.contrast(fill, g) for g in (scheme.surface, scheme.canvas)) < EDGE_CONTRAST
    return Accent(
        fill=fill,
        label=label,
        hover=colors.from_oklch(min(1.0, max(0.0, lightness + away)), chroma, hue),
        border=scheme.edge if faint else fill,
        text=text,
        soft=soft,
    )


def stylesheet(brand: str) -> str:
    """The tokens of `brand` as a style sheet for both schemes. Raises errors.Misconfigured."""
    light, dark = accent(brand, LIGHT), accent(brand, DARK)
    names = ("fill", "label", "hover", "border", "text", "soft")
    lines = (
        f"--accent-{name}: light-dark({getattr(light, name)}, {getattr(dark, name)});"
        for name in names
    )
    return "@layer tokens {\n:root {\n" + "\n".join(lines) + "\n}\n}\n"
