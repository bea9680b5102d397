"""Writer of docs/settings.md from the table of settings; ``make fix`` runs it."""

from __future__ import annotations

from pathlib import Path

from kamou.settings.config import Settings, flatten_settings, to_json_value
from kamou.settings.table import settings_table

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
HEAD = """# Settings

`make fix` writes this page from the table in `kamou/settings/table.py` and from the parameters that
each file in `kamou/core/strategies/` declares; do not edit it here.
`kamou init` writes all settings into a commented file. The sizing equity is the smaller of
equity and wallet balance.

| setting | default | unit | allowed | description |
|---|---|---|---|---|
"""


def settings_page() -> str:
    """Return the whole page."""
    rows, table = [], settings_table()
    for key, value in flatten_settings(Settings()).items():
        setting = table[key]
        shown = to_json_value(value)
        default = ", ".join(map(str, shown)) if isinstance(shown, list) else str(shown).strip()
        allowed = setting.range_text().removesuffix(f" {setting.unit}")
        hard = f" **{setting.why}**" if setting.why else ""
        cells = (f"`{key}`", f"`{default}`" if default else "", setting.unit, allowed)
        about = f"{setting.about}.{hard}".replace("|", "\\|")
        rows.append(" | ".join(cell.replace(" | ", ", ") for cell in cells) + f" | {about}")
    return HEAD + "".join(f"| {row} |\n" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
