"""The style sheet: contrast of text, its smallest size, and scaled drawings."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from kamou.web.chart_frames import CURVE_FRAMES

CSS = (resources.files("kamou.web") / "static" / "site.css").read_text(encoding="utf-8")
LEAST_GRAPHIC = 3.0  # WCAG 2.2, 1.4.11
LEAST_PX = 12.0
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
REM_PX = 16.0
SCROLLBAR_PX = 15.0
TEXTS = (
    ("ink", "paper"),
    ("soft", "paper"),
    ("soft", "raised"),
    ("badge", "raised"),
    ("gain", "raised"),
    ("gain", "paper"),
    ("loss", "paper"),
    ("accent", "paper"),
    ("banner-ink", "banner"),
    ("paper", "accent"),
)


def colours(dark: bool) -> dict[str, str]:
    light, night = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", night)) if dark else {})


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_has_the_contrast_to_its_background_that_wcag_requires(
    text: str, ground: str, dark: bool
) -> None:
    found = colours(dark)
    assert contrast(found[text], found[ground]) >= LEAST_CONTRAST


GRAPHICS = (
    # rule, and the property that carries the meaning
    (".swatch.halt", "background"),
    (".swatch.down", "background"),
    (".swatch.config", "border-left"),
    ("svg .band.halt", "stroke"),
    ("svg .band.down", "stroke"),
    ("svg .bar.gain", "fill"),
    ("svg .bar.loss", "fill"),
    ("svg .bar.idle", "fill"),
    ("svg .bar.unseparated", "fill"),
    ("svg .line", "stroke"),
    ("svg .start", "stroke"),
    ("svg .marker", "stroke"),
    ("svg .end", "fill"),
    (".whisker .neutral", "stroke"),
    (".whisker .reach", "stroke"),
    (".whisker .value", "fill"),
)


def blended(colour: str, ground: str, opacity: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * opacity + b * (1 - opacity)):02x}" for a, b in pairs)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("rule", GRAPHICS, ids=lambda rule: rule[0])
def test_a_drawn_mark_has_the_contrast_to_the_paper_that_wcag_requires(
    rule: tuple[str, str], dark: bool
) -> None:
    selector, property_ = rule
    body = re.search(rf"^{re.escape(selector)} \{{(.*?)\}}", CSS, re.MULTILINE)
    assert body is not None
    named = re.search(rf"(?:^|[ ;]){property_}: [^;]*var\(--([\w-]+)\)", body[1])
    thin = re.search(r"(?:^|[ ;])opacity: ([\d.]+)", body[1])
    assert named is not None
    found = colours(dark)
    seen = blended(found[named[1]], found["paper"], float(thin[1]) if thin else 1.0)
    assert contrast(seen, found["paper"]) >= LEAST_GRAPHIC


def test_the_mode_of_demo_and_paper_has_the_badge_color() -> None:
    assert re.search(r"\.mode-demo \.mode, \.mode-paper \.mode \{ color: var\(--badge\); \}", CSS)
    assert contrast("#c98a00", "#ffffff") < 3, "what it had before"


def test_no_text_is_set_smaller_than_twelve_pixels() -> None:
    sizes = re.findall(r"font(?:-size)?: (?:\d+ )?([\d.]+)(rem|px|em)\b", CSS)
    assert len(sizes) > 15
    assert all(unit != "em" for _, unit in sizes), "em is relative to a font that may be small"
    small = [size for size, unit in sizes if float(size) * (REM_PX if unit == "rem" else 1) < 12]
    assert small == []
    assert "font: max(.86em, .75rem)" in CSS


@pytest.mark.parametrize(
    ("frame", "from_px", "font"),
    [
        # the narrowest window of each rule, with the page's own margins
        ("wide", 69.5 * REM_PX, r"svg text \{ font: ([\d.]+)px"),
        ("wide", 56 * REM_PX, r"69\.5rem\) \{ svg\.wide text \{ font-size: ([\d.]+)px"),
        ("wide", 44 * REM_PX, r"56rem\) \{ svg\.wide text \{ font-size: ([\d.]+)px"),
        ("narrow", 23.5 * REM_PX, r"  svg\.narrow text \{ font-size: (13[\d.]+)px"),
        ("narrow", 320, r"  svg\.narrow text \{ font-size: (16[\d.]+)px"),
    ],
)
def test_labels_of_a_scaled_drawing_have_at_least_twelve_pixels(
    frame: str, from_px: float, font: str
) -> None:
    found = re.search(font, CSS)
    assert found is not None
    width = next(each.width for each in CURVE_FRAMES if each.name == frame)
    margins = 24 if from_px < 23.5 * REM_PX else 40
    scale = (from_px - SCROLLBAR_PX - margins) / width
    assert float(found[1]) * scale >= LEAST_PX


def test_printed_tables_do_not_scroll_and_show_every_column() -> None:
    printed = CSS.partition("@media print")[2]
    assert ".scroll { overflow: visible; }" in printed
    assert "td.more, th.more { display: table-cell; }" in printed


def test_no_heading_is_alone_at_the_end_of_a_printed_page() -> None:
    printed = CSS.partition("@media print")[2]
    kept = re.search(r"([^{}]*)\{ break-after: avoid; \}", printed)
    assert kept is not None
    named = {each.strip() for each in kept[1].rpartition("*/")[2].split(",")}
    assert {"h1", "h2", "h3", "dt", "h2 + .note", "thead"} <= named


def test_times_and_keys_may_wrap_on_a_narrow_screen() -> None:
    small = CSS.partition("@media (max-width: 44rem)")[2].partition("@media")[0]
    assert ".facts time, .lede time, .key { white-space: normal; }" in small


def test_times_in_a_printed_table_do_not_wrap_and_the_reason_takes_the_remaining_width() -> None:
    printed = CSS.partition("@media print")[2]
    rules = dict(re.findall(r"^  ([^{}\n]+?) \{ ([^}]+) \}$", printed, re.MULTILINE))
    assert rules["th time, td time"] == "white-space: nowrap;"
    assert rules["td.more, th.more"] == "display: table-cell;"
    assert rules[".interruptions td"] == "white-space: nowrap;"
    assert rules[".interruptions td.why"] == "width: 100%;"
    later = printed.partition("th time, td time")[2]
    assert not re.search(r"(?<![.\w] )\btime \{", later), "a later rule would win"


def test_a_printed_row_and_a_trades_table_of_orders_stay_on_one_page() -> None:
    printed = CSS.partition("@media print")[2]
    kept = re.search(r"([^{}]*)\{ break-inside: avoid; \}", printed)
    assert kept is not None
    assert {"tr", ".orders"} <= {each.strip() for each in kept[1].split(",")}
