"""Model card and provenance: what it is for, what nobody has shown about it, and where every figure
comes from.
"""

from mobilekd.figures.tables import Cell, table
from mobilekd.page.blocks import Block, Heading, Points, Section, Text, section
from mobilekd.page.collect import Material
from mobilekd.page.lowered import title
from mobilekd.page.settings import way

DISCLAIMER = (
    "A research demonstration, not a medical device. It must not be used to diagnose, to reassure,"
    " or to delay seeing a doctor."
)

USE = (
    (
        "Intended use",
        (
            "research and teaching on distillation and on-device inference with dermoscopy"
            " photographs of single pigmented lesions"
        ),
    ),
    (
        "Out of scope",
        (
            "any clinical decision; clinical (non-dermoscopic) or phone-camera photographs without"
            " a dermatoscope; screening of whole bodies"
        ),
    ),
)

NOT_VALIDATED = (
    (
        "People",
        (
            "populations, ages and skin tones that the data hold few or none of (HAM10000 was"
            " gathered in Vienna and Queensland)"
        ),
    ),
    ("Instruments", "other dermatoscopes, cameras, lighting and compression than the data's"),
    (
        "Lesions",
        (
            "classes that the data lack (it must choose one of its own, or say “not sure”), mucosa,"
            " nails, treated or ulcerated skin"
        ),
    ),
    (
        "Practice",
        (
            "prospective use with patients; a histological diagnosis outside the data; the effect"
            " on what people do"
        ),
    ),
)


def card(material: Material) -> Section | None:
    """Intended use, limits, data and decision rule of the students and artifacts here."""
    if not (material.runs or material.artifacts):
        return None
    blocks: list[Block | None] = [Text(DISCLAIMER), Points((*USE, *_facts(material)))]
    blocks += [Heading("What it was not validated on"), Points(NOT_VALIDATED)]
    return section("card", "Model card", blocks)


def _facts(material: Material) -> tuple[tuple[str, str], ...]:
    labels = {label.key: label.text for one in material.runs for label in one.run.info.labels}
    labels |= {
        label.key: label.text
        for artifact in material.artifacts
        for label in artifact.manifest.labels
    }
    licences = [one.run.info.data_licence for one in material.runs] + [
        artifact.manifest.provenance.data_licence for artifact in material.artifacts
    ]
    data = sorted(
        {one.run.recipe.data.kind for one in material.runs}
        | {_kind(artifact.manifest.provenance.recipe) for artifact in material.artifacts}
    )
    stated = sorted({one for one in licences if one})
    elsewhere = sorted(
        {
            document["data"]["kind"]
            for document in material.evaluations
            if document["data"]["role"] == "all"
        }
    )
    facts = [
        ("Classes", ", ".join(f"{text} ({key})" for key, text in labels.items())),
        (
            "Trained on",
            (
                f"{', '.join(data)}; the weights inherit the data's licence:"
                f" {', '.join(stated) or 'none stated'}"
            ),
        ),
        ("Judged on data of another origin", ", ".join(elsewhere) or "none in this report"),
        ("Decision", "the most probable class after temperature scaling on validation"),
        (
            "Not sure",
            "below a top probability that keeps 90% of validation, it says so instead of answering",
        ),
    ]
    return tuple(facts)


def _kind(recipe: dict[str, object]) -> str:
    data = recipe.get("data")
    return str(data.get("kind", "?")) if isinstance(data, dict) else "?"


def provenance(material: Material) -> Section | None:
    """Where everything comes from: versions, commits, hashes, commands, time."""
    rows: list[list[object]] = []
    for one in material.runs:
        info = one.run.info
        rows.append(
            [
                Cell(info.name, "run"),
                info.created_utc,
                _short(info.commit),
                _versions(info.versions),
                f"recipe {info.recipe_hash[:12]}",
                info.command or "–",
            ]
        )
    for artifact in material.artifacts:
        origin = artifact.manifest.provenance
        mark = artifact.manifest.files.get(artifact.manifest.model_file, "")[:12]
        rows.append(
            [
                Cell(title(artifact), "artifact"),
                origin.created_utc,
                _short(origin.commit),
                _versions(origin.versions),
                f"model {mark}",
                f"from {origin.run}",
            ]
        )
    for measurement in material.measurements:
        who = Cell(measurement.artifact, f"measured on {way(measurement)}")
        mark = f"model {measurement.artifact_sha256[:12]}"
        rows.append(
            [
                who,
                measurement.started_utc,
                _short(measurement.commit),
                _versions(measurement.versions),
                mark,
                measurement.command or "–",
            ]
        )
    for document in material.evaluations:
        who = Cell(document["target"]["name"], f"evaluated on {document['data']['kind']}")
        mark = f"data {document['data']['hash'][:12]}"
        rows.append(
            [
                who,
                document["created_utc"],
                _short(document["commit"]),
                _versions(document["versions"]),
                mark,
                "–",
            ]
        )
    blocks: list[Block | None] = [_devices(material)]
    if rows:
        blocks.insert(
            0,
            table(
                "Provenance", ("what", "when, UTC", "commit", "versions", "hash", "made by"), rows
            ),
        )
    if material.ignored:
        blocks.append(
            Text(
                "Left aside, because they are none of what a report is made of:"
                f" {', '.join(material.ignored)}."
            )
        )
    return section("provenance", "Where every figure comes from", blocks)


def _devices(material: Material) -> Block | None:
    devices = {one.device.id: one.device for one in material.measurements}
    rows: list[list[object]] = [
        [
            Cell(device.id, "emulated" if device.emulated else device.kind),
            f"{device.maker} {device.model}".strip() or "–",
            device.soc or "–",
            device.os or "–",
            device.abi or "–",
            str(device.cores or "–"),
            "–" if device.memory_bytes is None else f"{device.memory_bytes / 2**30:.1f} GiB",
            " ".join(device.cpu_features) or "–",
        ]
        for device in devices.values()
    ]
    header = ("device", "model", "processor", "system", "ABI", "cores", "memory", "CPU features")
    return table("Devices", header, rows) if rows else None


def _short(commit: str | None) -> str:
    return "–" if commit is None else commit[:12]


def _versions(versions: dict[str, str]) -> str:
    wanted = ("mobilekd", "torch", "executorch", "coremltools")
    return ", ".join(f"{name} {versions[name]}" for name in wanted if name in versions)
