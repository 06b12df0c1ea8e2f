"""Any brand's colour gives pages that can be read."""

from __future__ import annotations

import random

import pytest

from bursar import errors
from bursar.entrypoints.web import colors, theme
from bursar.entrypoints.web.theme import DARK, LIGHT, Scheme

_dice = random.Random(7)  # noqa: S311 - the same colours each time, not secrets
BRANDS = [f"#{_dice.randrange(1 << 24):06x}" for _ in range(2000)]


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_two_thousand_brands_stay_readable(scheme: Scheme) -> None:
    for brand in BRANDS:
        found = theme.accent(brand, scheme)
        grounds = (scheme.canvas, scheme.surface, scheme.sunken, found.soft)
        assert colors.contrast(found.label, found.fill) >= 4.5, brand
        assert colors.contrast(found.label, found.hover) >= 4.5, brand
        assert min(colors.contrast(found.text, g) for g in grounds) >= scheme.text_contrast, brand
        assert min(colors.contrast(found.border, g) for g in grounds[:2]) >= 3.0, brand
        assert colors.contrast(scheme.text, found.soft) >= 4.5, brand


def test_the_default_brand_is_as_designed() -> None:
    light, dark = theme.accent("#0b6477", LIGHT), theme.accent("#0b6477", DARK)
    assert (light.fill, light.label, light.text, light.soft) == (
        "#0b6477",
        "#ffffff",
        "#0b6477",
        "#e9f1f3",
    )
    assert (dark.label, dark.soft) == ("#ffffff", "#182c2f")


@pytest.mark.parametrize("brand", ["#111111", "#ffffff", "#888888"])
def test_a_brand_without_colour_becomes_ink(brand: str) -> None:
    dark = theme.accent(brand, DARK)
    assert (dark.fill, dark.label) == (DARK.text, DARK.canvas)


def test_a_black_brand_keeps_its_black_in_light() -> None:
    assert theme.accent("#111111", LIGHT).fill == "#111111"


def test_a_faint_brand_gets_a_border_that_shows() -> None:
    assert theme.accent("#ffe600", LIGHT).border == LIGHT.edge


@pytest.mark.parametrize("brand", ["", "teal", "#12345", "#12345g", "#1234567"])
def test_a_bad_colour_is_refused_by_its_name(brand: str) -> None:
    with pytest.raises(errors.Misconfigured, match="BURSAR_BRAND_ACCENT"):
        theme.stylesheet(brand)


def test_contrast_is_counted_as_wcag_counts_it() -> None:
    assert colors.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colors.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_a_colour_survives_the_way_there_and_back() -> None:
    for brand in BRANDS[:200]:
        assert colors.from_oklch(*colors.to_oklch(brand)) == brand
