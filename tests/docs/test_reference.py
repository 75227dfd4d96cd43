"""The reference says what the code says: pages and schemas are compared with it."""

import json
import tomllib
from importlib import import_module
from importlib.resources import files

import jsonschema
import pytest
from fixtures.scripts import script
from pydantic import Field

from mobilekd.formats.document import Document
from mobilekd.formats.recipe_file import load_recipe, shipped
from mobilekd.formats.runs import open_run, references

AGAIN = "differs from the code: run make docs-reference"


@pytest.fixture(scope="module")
def reference(checkout):
    return script(checkout / "docs/reference.py")


@pytest.fixture(scope="module")
def recipe_pages(reference):
    return import_module("making.recipe_pages")


@pytest.fixture(scope="module")
def command_pages(reference):
    return import_module("making.command_pages")


def test_every_page_is_what_the_code_says(reference):
    made = reference.pages()
    for path, text in made.items():
        assert path.is_file(), f"{path} is missing: run make docs-reference"
        assert path.read_text(encoding="utf-8") == text, f"{path} {AGAIN}"
    known = {*reference.PAGES.rglob("*.md"), *reference.SCHEMAS.glob("*.json")}
    assert known == set(made), "a page without code: run make docs-reference and remove it"


def test_a_key_without_a_description_is_told(recipe_pages, monkeypatch):
    class Bare(Document):
        said: int = Field(0, description="described")
        unsaid: int = 0

    monkeypatch.setattr(recipe_pages, "keys", lambda: list(Bare.model_fields.items()))
    with pytest.raises(SystemExit, match="unsaid: has no description"):
        recipe_pages.recipe_page()


def test_an_option_that_is_new_or_gone_is_told(command_pages, monkeypatch):
    made = command_pages.commands()
    before = command_pages.commands_page()
    made.parsers["export"].add_argument("--planted", help="an option that no page has")
    monkeypatch.setattr(command_pages, "commands", lambda: made)
    assert command_pages.commands_page() != before
    assert "`--planted PLANTED`" in command_pages.commands_page()


def test_every_recipe_meets_the_schema(reference):
    schema = json.loads(reference.schema("recipe"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for item in files("mobilekd.recipes").iterdir():
        if item.name.endswith(".toml"):
            jsonschema.validate(tomllib.loads(item.read_text(encoding="utf-8")), schema)
    for name in shipped():
        jsonschema.validate(load_recipe(name).to_dict(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "mine", "train": {"epoch": 3}}, schema)


def test_every_shipped_run_meets_the_schema(reference):
    schema = json.loads(reference.schema("run"))
    for name in references():
        run = open_run(f"reference:{name}")
        jsonschema.validate(json.loads((run.folder / "run.json").read_text()), schema)


def test_the_manifests_schema_is_the_one_that_travels(reference):
    from mobilekd.formats.artifact import SCHEMA

    assert json.loads(SCHEMA.read_text()) == json.loads(reference.schema("manifest"))


def test_every_measurement_meets_the_schema(reference, checkout):
    schema = json.loads(reference.schema("measurement"))
    found = sorted((checkout / "benchmarks/results").glob("*-cores/*.json"))
    read = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    current = [one for one in read if one.get("schema_version") == 2]
    assert current
    for document in current:
        jsonschema.validate(document, schema)


def test_types_of_keys_are_written_as_people_say_them(recipe_pages):
    assert recipe_pages.type_words(tuple[str, ...]) == "list of texts"
    assert recipe_pages.type_words(tuple[tuple[str, str], ...]) == "list of pairs of texts"
