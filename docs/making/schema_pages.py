"""JSON Schemas of the documents on disk, and the page that lists them."""

import json

from pydantic import BaseModel

from making.markdown import page, table
from mobilekd.formats.artifact import Manifest
from mobilekd.formats.measurement import Measurement
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import RunInfo

DOCUMENTS: dict[str, tuple[type[BaseModel], str]] = {
    "recipe": (Recipe, "a recipe, as TOML or as `recipe.json` of a run"),
    "run": (RunInfo, "`run.json` of a run"),
    "manifest": (Manifest, "`manifest.json` of an artifact"),
    "measurement": (Measurement, "`results/DEVICE/ARTIFACT.json`"),
}


def schema(name: str) -> str:
    """The JSON Schema of a document."""
    model = DOCUMENTS[name][0]
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(),
    }
    if name == "recipe":  # what a reader of the file takes out before it is validated
        document["properties"]["base"] = {
            "type": "string",
            "description": "a shipped recipe or a file beside this one, which says all the rest",
        }
        one = document["properties"]["data"]
        document["properties"]["data"] = {
            "description": one.pop("description"),
            "anyOf": [one, {"type": "array", "items": dict(one)}],
        }
        # a recipe with a base may leave out what the base says
        document["required"] = ["name"]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def schemas_page() -> str:
    """What schemas there are, and how an editor takes one."""
    rows = [
        (f"[`{name}.schema.json`](../schemas/{name}.schema.json)", text)
        for name, (_, text) in DOCUMENTS.items()
    ]
    return page(
        "Schemas",
        "JSON Schemas (draft 2020-12) of the documents on disk, for editors and for readers in"
        " other languages.",
        table(("Schema", "Of"), rows),
        "An editor with TOML support (Even Better TOML, Taplo) completes a recipe's keys when its"
        ' first line names the schema:\n\n```toml\n#:schema ./recipe.schema.json\nname = "mine"'
        '\nbase = "ham10000"\n```',
    )
