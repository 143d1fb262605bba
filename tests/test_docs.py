"""Documents keep up with the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from dofa_cli import __version__, errors
from dofa_cli.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


def writer(name: str) -> ModuleType:
    """Load a script of docs/ that writes pages."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_reference_is_what_help_says():
    module = writer("write_commands")
    assert module.PAGE.read_text(encoding="utf-8") == module.reference(), "run: make docs"


def test_the_list_of_sensors_is_what_their_files_say():
    module = writer("write_sensors")
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: make docs"
    assert set(module.SHOWN) <= set(re.findall(r"^\| `([^`]+)`", module.page(), re.MULTILINE))


def test_the_json_schema_is_what_the_format_says():
    module = writer("write_sensors")
    assert module.SCHEMA.read_text(encoding="utf-8") == module.schema_json.to_text(), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing


def test_readme_shows_every_top_level_entry():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("dofa_cli", "sensors", "weights", "tests", "examples", "benchmarks", "docs"):
        assert f"{name}/" in text


def test_every_command_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [command.callback.__name__ for command in app.registered_commands] + [g.name for g in app.registered_groups]
    assert [name for name in names if f"dofa {name}" not in text] == []


def test_every_error_has_a_code_of_its_own_and_stands_in_the_drawing():
    tree = [errors.DofaError]
    for kind in tree:
        tree += kind.__subclasses__()
    codes = [kind.exit_code for kind in tree]
    assert len(set(codes)) == len(codes)
    for kind in tree:
        assert re.search(rf"\b{kind.__name__}\s+{kind.exit_code}\b", errors.__doc__)


def test_changelog_starts_with_unreleased_work():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (Unreleased|.*" + re.escape(__version__) + ")", text, re.MULTILINE)


def test_documented_options_exist():
    """Every --option that the pages name is one of some command."""
    known = set(re.findall(r"--[a-z][a-z-]+", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")))
    others = {"--no-deps", "--help"}
    for page in [ROOT / "README.md", ROOT / "docs" / "embed.md"]:
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")))
        assert named <= known | others, page
