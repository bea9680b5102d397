"""The text of a `kamou.toml` with every setting and its default."""

from __future__ import annotations

import json

from kamou.settings.config import Settings, flatten_settings, to_json_value
from kamou.settings.table import settings_table


def render_commented_toml() -> str:
    """Return the text of a `kamou.toml` with every default, commented out."""
    text = [
        "# Kamou's settings. Each name below has its default; remove the # in front of a name to",
        "# change it. The environment overrides this file: KAMOU__RISK__LEVERAGE_MAX=3.",
        "# Secrets do not belong in this file. The refiner's key is in KAMOU_REFINER_KEY.",
    ]
    group_before, table = "", settings_table()
    for key, value in flatten_settings(Settings()).items():
        group, _, name = key.rpartition(".")
        if group != group_before:
            text += ["", f"[{group}]"]
            group_before = group
        setting = table[key]
        limits = "; ".join(part for part in (setting.range_text(), setting.why) if part)
        about = f"{setting.about} [{setting.unit}]" if setting.unit else setting.about
        text.append(f"# {about}" + (f" ({limits})" if limits else ""))
        text.append(f"#{name} = {json.dumps(to_json_value(value))}")
    return "\n".join(text) + "\n"
