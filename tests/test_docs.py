"""What the documents say is true: commands, options, paths, links, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kamou.cli import kamou_command
from tests.codes_page import PAGE as CODES
from tests.codes_page import codes_page
from tests.fills_page import PAGE as FILLS
from tests.fills_page import fills_page
from tests.reliability_pages import FAULTS_PAGE, SEEDS_PAGE, faults_page, seeds_page
from tests.settings_page import PAGE, settings_page

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changes/*.md")]
)
DECISION_LINES_MAX = 60  # a screen

CODE = re.compile(r"```(.*?)\n(.*?)```|`([^`\n]+)`", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# A path has a slash or a known suffix. One with a scheme or a leading slash is a web path.
FILE = re.compile(r"^(?!/|\.\./|kamou-data)[\w.-]+(/[\w.-]+)*(/|\.(py|md|toml|txt|sql))$")
# Files that a run or a user makes.
MADE_AT_RUN = {"kamou.toml", "report.json", "market/", "make_bars.py", "bars/bars.csv"}
MADE_AT_RUN |= {"strategies/breakout.py", "strategies/tests/", "breakout.py"}
TO_WRITE = ("NAME", "NUMBER")  # stand for what a contributor chooses
STATUS = re.compile(
    r"^Status: (accepted|replaced by \d{4})\. Date: \d{4}-\d\d-\d\d\.$", re.MULTILINE
)
MAKE = re.compile(r"^make ([a-z-]+)")


def code_lines(page: str) -> Iterator[str]:
    """Yield the lines of code on a page; of a session, its input only."""
    for language, block, span in CODE.findall((ROOT / page).read_text(encoding="utf-8")):
        lines = [line.strip() for line in (block or span).splitlines() if line.strip()]
        if language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        yield from lines


def names_of_files(page: str) -> set[str]:
    """Return the spans on a page that must be a file or directory of this repository."""
    spans = {span for *_, span in CODE.findall((ROOT / page).read_text(encoding="utf-8"))}
    files = {span for span in spans if FILE.match(span)}
    return {file for file in files if not any(word in file for word in TO_WRITE)} - MADE_AT_RUN


def problem_of(line: str) -> str | None:
    """Return the error of a ``kamou ...`` line; None if its verb and options exist.

    A verb in capitals stands for any verb, so such a line has no error.
    """
    command: click.Command = kamou_command
    words = [word for word in line.split("|")[0].split()[1:] if word]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name.isupper():  # VERB stands for any verb
            return None
        if name not in command.commands:
            return f"no verb {name}"
        command = command.commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    options |= {"--help", "-h", "--version"}
    wrong = [
        word for word in words if word.startswith("--") and word.partition("=")[0] not in options
    ]
    return f"no option {wrong[0]}" if wrong else None


def stands(name: str, page_dir: Path) -> bool:
    """Return True if the file exists: under the root, next to the page, or in kamou/.

    A name without a folder may be that of a file in any folder of kamou/.
    """
    places = (ROOT, page_dir, ROOT / "kamou")
    if any((place / name).exists() for place in places):
        return True
    return "/" not in name and any((ROOT / "kamou").rglob(name))


def anchors_of(text: str) -> set[str]:
    """Return the anchors of the headings of a Markdown page."""
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in HEADING.findall(text))
    return {title.replace(" ", "-") for title in plain}


def test_the_checks_of_the_docs_find_pages() -> None:
    assert {"README.md", "CHANGELOG.md", "docs/commands.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists_with_its_options(page: str) -> None:
    lines = [line for line in code_lines(page) if line.startswith("kamou ")]
    assert not {line: problem for line in lines if (problem := problem_of(line))}


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_on_a_page_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {found[1] for line in code_lines(page) if (found := MAKE.match(line))}
    assert not {target for target in targets if f"\n{target}:" not in makefile}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_named_on_a_page_exists(page: str) -> None:
    lost = [name for name in names_of_files(page) if not stands(name, (ROOT / page).parent)]
    assert not lost


def test_every_test_that_a_page_selects_by_name_exists() -> None:
    files = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = " ".join(name for text in files for name in re.findall(r"def (test_\w+)", text))
    selected = [
        word
        for page in PAGES
        for word in re.findall(r"-k\s+\"?(\w+)", (ROOT / page).read_text(encoding="utf-8"))
    ]
    assert selected
    assert not [word for word in selected if word not in named]


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_on_a_page_leads_to_a_file(page: str) -> None:
    links = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    inner = [link for link in links if "://" not in link]
    assert not [link for link in inner if not ((ROOT / page).parent / link).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_heading_names_one_of_its_page(page: str) -> None:
    for target, anchor in ANCHOR.findall((ROOT / page).read_text(encoding="utf-8")):
        if "://" not in target:
            aim = (ROOT / page).parent / target if target else ROOT / page
            assert anchor in anchors_of(aim.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_a_decision_record_has_at_most_60_lines() -> None:
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert len(decisions) > 10
    assert not [
        path.name for path in decisions if path.read_text().count("\n") > DECISION_LINES_MAX
    ]


def test_every_decision_has_its_status_date_and_headings_in_order() -> None:
    headings = ["## Context", "## Decision", "## Alternatives", "## Consequences"]
    for path in (ROOT / "docs/decisions").glob("0*.md"):
        text = path.read_text()
        assert STATUS.search(text), (
            f"{path.name} lacks a line `Status: accepted. Date: 2026-01-31.`"
        )
        found = [line for line in text.splitlines() if line.startswith("## ")]
        assert found == headings, path.name


def test_the_page_of_settings_is_the_table_of_settings() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run `make fix`"


def test_the_page_of_codes_is_the_tables_of_codes() -> None:
    assert CODES.read_text(encoding="utf-8") == codes_page(), "run `make fix`"


def test_the_page_of_fills_is_made_of_the_docstrings_of_the_venue() -> None:
    assert FILLS.read_text(encoding="utf-8") == fills_page(), "run `make fix`"


def test_the_tables_of_faults_and_seeds_are_those_of_the_simulator() -> None:
    assert FAULTS_PAGE.read_text(encoding="utf-8") == faults_page(), "run `make fix`"
    assert SEEDS_PAGE.read_text(encoding="utf-8") == seeds_page(), "run `make fix`"


def test_every_verb_is_named_on_the_page_of_commands() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    verbs = [
        f"{name} {inner}" if inner else name
        for name, command in kamou_command.commands.items()
        for inner in (command.commands if isinstance(command, click.Group) else [""])
    ]
    assert not [verb for verb in verbs if f"`kamou {verb}" not in text]


def test_the_readme_has_the_risk_notice_and_claims_no_guarantee_or_certificate() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "README.md").read_text())
    assert "Not financial advice. No promise of profit." in text
    assert "you can lose everything you deposit" in text
    assert not re.search(r"guarantee|risk-free|compliant|certified", text, re.IGNORECASE)


def test_the_checks_of_the_docs_find_errors() -> None:
    assert problem_of("kamou rnu") == "no verb rnu"
    assert problem_of("kamou run --prot 1") == "no option --prot"
    assert problem_of("kamou data export") == "no verb export"
    assert problem_of("kamou db backup FILE --json") is None
    assert FILE.match("kamou/nowhere.py")
    assert not FILE.match("/results.json")
    assert anchors_of("## Halt, resume, flatten\n") == {"halt-resume-flatten"}
