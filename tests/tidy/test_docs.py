"""The docs say what the code says: every error, every setting, every command, every link."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest
from typer.main import get_command

from bursar import errors
from bursar.config import Settings
from bursar.entrypoints.api import problems
from bursar.entrypoints.cli.app import COMMANDS, build
from tidy.sources import ROOT, modules, name, text

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("src/**/*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.M)
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def tree(family: type[errors.Error]) -> list[type[errors.Error]]:
    """A family and everything below it."""
    return [family, *(leaf for child in family.__subclasses__() for leaf in tree(child))]


def all_errors() -> list[type[errors.Error]]:
    """Every error of the packages, wherever it stands."""
    for path in modules():
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        if parts[-1] not in ("__main__", "launch"):
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
    return [kind for kind in tree(errors.Error) if kind.__module__.startswith("bursar.")]


def documented_errors() -> dict[str, tuple[str, int]]:
    """The entries of the page: code → first sentence and HTTP status."""
    page = text(DOCS / "reference" / "errors.md")
    entries = re.findall(r"^## `(\w+)`\n\n(.+?) \(HTTP (\d+)\)\n\n\S", page, re.M)
    return {code: (sentence, int(status)) for code, sentence, status in entries}


def test_every_error_has_its_own_code_and_says_what_it_means() -> None:
    kinds = all_errors()
    codes = Counter(kind.code for kind in kinds)
    assert {code: count for code, count in codes.items() if count > 1} == {}
    assert [kind.__name__ for kind in kinds if "code" not in vars(kind)] == []
    assert [kind.__name__ for kind in kinds if not kind.__doc__] == []


def test_every_code_has_an_entry_that_says_what_the_code_says() -> None:
    said = {kind.code: (problems.title_of(kind), problems.status_of(kind)) for kind in all_errors()}
    said |= {code: (rule.title, rule.status) for code, rule in problems.RULES.items()}
    assert documented_errors() == said


def test_every_family_ends_in_a_status_of_its_own() -> None:
    families = set(errors.Error.__subclasses__())
    assert families - set(problems.STATUSES) == set()


def variables() -> set[str]:
    """The names under which the settings are read."""
    prefix = str(Settings.model_config["env_prefix"])
    return {
        str(field.validation_alias or f"{prefix}{field_name.upper()}")
        for field_name, field in Settings.model_fields.items()
    }


def test_every_setting_has_a_line_and_every_line_a_setting() -> None:
    page = text(DOCS / "reference" / "settings.md")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.M)) == variables()


def test_the_example_of_an_env_file_names_only_settings() -> None:
    named = re.findall(r"^(?:# )?([A-Z_]+)=", text(ROOT / ".env.example"), re.M)
    assert named
    assert set(named) - variables() == set()


def documented_commands() -> dict[str, str]:
    """Each command of the page with the text of its section."""
    page = text(DOCS / "reference" / "commands.md")
    parts = re.split(r"^## `bursar ([a-z -]+)`\n", page, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def real_commands() -> dict[str, list[str]]:
    """Each command with its options, from the parser itself."""
    found: dict[str, list[str]] = {}
    for line in COMMANDS:
        top = get_command(build([line.name])).commands[line.name]
        inner = getattr(top, "commands", None)
        calls = {f"{line.name} {word}": each for word, each in (inner or {}).items()}
        for words, each in (calls or {line.name: top}).items():
            options = [
                p
                for p in each.params
                if p.param_type_name == "option" and not getattr(p, "hidden", False)
            ]
            found[words] = [name for p in options for name in (*p.opts, *p.secondary_opts)]
    return found


def test_every_command_has_a_section_that_names_its_options() -> None:
    sections = documented_commands()
    commands = real_commands()
    assert set(sections) == set(commands)
    missing = {
        f"{words} {option}"
        for words, options in commands.items()
        for option in options
        if option != "--help" and f"`{option}`" not in sections[words]
    }
    assert missing == set()


def test_help_of_a_command_is_the_same_from_outside_and_inside() -> None:
    for line in COMMANDS:
        inside = get_command(build([line.name])).commands[line.name].help
        assert inside.splitlines()[0] == line.help or line.name == "demo", line.name


def anchor(heading: str) -> str:
    """The name by which a heading is linked to."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    body = FENCE.sub("", text(page))
    dead = []
    for found in LINK.finditer(body):
        target = found[1] or found[2]
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, fragment = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        anchors = {anchor(h) for h in HEADING.findall(text(path))} if fragment else set()
        if not path.exists() or (fragment and fragment not in anchors):
            dead.append(target)
    assert dead == []


def test_every_page_is_on_the_map() -> None:
    linked = {
        (page.parent / (found[1] or found[2]).partition("#")[0]).resolve()
        for page in PAGES
        for found in LINK.finditer(text(page))
    }
    lost = [name(path) for path in DOCS.rglob("*.md") if path not in linked]
    assert [path for path in lost if path != "docs/README.md"] == []
