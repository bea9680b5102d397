"""Writes the tables of faults and seeds into docs/reliability*.md."""

from __future__ import annotations

from pathlib import Path

from kamou.simulator.faults import FAULTS

ROOT = Path(__file__).parent.parent
KNOWN = ROOT / "tests/simulation/seeds/known.txt"
FAULTS_PAGE = ROOT / "docs/reliability.md"
SEEDS_PAGE = ROOT / "docs/reliability-seeds.md"
FAULTS_NAMED = 3  # a row with more faults has their number instead


def faults_page() -> str:
    """Return docs/reliability.md with the table of faults as the code has it."""
    rows = [f"| `{fault.name}` | {fault.doc} |" for fault in FAULTS]
    return _with_table(FAULTS_PAGE, "faults", ["| fault | what it does |", "|---|---|", *rows])


def seeds_page() -> str:
    """Return docs/reliability-seeds.md with the table of the known seeds."""
    rows = []
    for line in KNOWN.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            seed, hours, faults, what = (part.strip() for part in line.split("|"))
            names = faults.split(",")
            several = len(names) > FAULTS_NAMED
            shown = str(len(names)) if several else ", ".join(f"`{name}`" for name in names)
            rows.append(f"| {seed} | {hours} | {shown} | {what} |")
    head = ["| seed | hours | faults | what was wrong |", "|---|---|---|---|"]
    return _with_table(SEEDS_PAGE, "seeds", [*head, *rows])


def _with_table(page: Path, name: str, table: list[str]) -> str:
    begin, end = f"<!-- {name}: written by make fix -->", f"<!-- end of {name} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise ValueError(f"{page.name} has no markers {begin} and {end}; put them back")
    return "\n".join([before + begin, "", *table, "", end + after])


if __name__ == "__main__":
    FAULTS_PAGE.write_text(faults_page(), encoding="utf-8")
    SEEDS_PAGE.write_text(seeds_page(), encoding="utf-8")
