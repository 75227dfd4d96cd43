"""Which layer's rounding is to blame, and which layers to keep in higher precision."""

import shlex

from mobilekd.backends import get, names
from mobilekd.figures import Chart
from mobilekd.figures.layers import LayerBar, layer_shares
from mobilekd.figures.tables import Cell, table
from mobilekd.formats.artifact import Manifest
from mobilekd.formats.layer_errors import LayerErrors, keep_option
from mobilekd.formats.runs import references
from mobilekd.page.blocks import Block, Charts, Heading, Section, Text, section_of
from mobilekd.page.inputs import Inputs
from mobilekd.support.text import listed

#: Rows of a page's table; the picture has all layers.
ROWS = 5
#: What computes more finely than int8, the coarsest first.
FINER = ("w8a16", "fp16", "fp32")


def section(inputs: Inputs) -> Section | None:
    """A picture for every artifact whose layers were rounded."""
    blocks: list[Block | None] = []
    for artifact in inputs.artifacts:
        found = inputs.layer_errors.get(artifact.folder)
        if found is None:
            continue
        blocks.append(Heading(artifact.title))
        blocks.append(Text(f"{found.about()} {sentence(found)}"))
        blocks.append(Charts((chart(artifact.manifest, found),)))
        blocks.append(_table(found))
        blocks.append(Text(keep(artifact.manifest, found)))
    return section_of("layers", "Which layer's rounding is to blame", blocks)


def sentence(found: LayerErrors) -> str:
    """How far rounding moves the decision, beside how far the first class is ahead."""
    return (
        f"The likeliest class is {found.margin:.2f} ahead of the second (ln p, mean); everything"
        f" rounded moves that by {found.change:.2g}."
    )


def chart(manifest: Manifest, found: LayerErrors) -> Chart:
    """Every layer's share of the decision's change, with its noise."""
    return layer_shares(
        f"What rounding each layer does, {manifest.name}, {manifest.backend} {manifest.precision}",
        "share of the decision's change, per cent",
        [LayerBar(one.layer, one.share, f"{one.sqnr_db:.0f} dB") for one in found.layers],
        found.worst(),
        ("a layer, with its SQNR", "the ones to keep in higher precision"),
    )


def _table(found: LayerErrors) -> Block:
    rows = [
        [
            Cell(one.layer),
            f"{100 * one.share:.1f}",
            f"{one.change:.2g}",
            f"{one.sqnr_db:.1f}",
            "–" if one.file_sqnr_db is None else f"{one.file_sqnr_db:.1f}",
        ]
        for one in found.ranked()[:ROWS]
    ]
    header = ("layer", "share %", "moves the margin by", "SQNR alone, dB", "SQNR in the file, dB")
    return table(f"The first {len(rows)} of {len(found.layers)} layers", header, rows)


def keep(manifest: Manifest, found: LayerErrors) -> str:
    """Which layers to keep in higher precision, and the command that does it where one does."""
    worst = found.worst()
    if not worst:
        return (
            "No layer's rounding moves a decision here, so none need be kept in higher precision."
        )
    words = f"Keep in higher precision: {listed(worst)}."
    if manifest.backend not in names():
        return words
    backend, run = get(manifest.backend), manifest.provenance.run
    source = f"reference:{run}" if run in references() else run
    chip = ["--soc", manifest.chip.soc] if manifest.chip else []
    command = shlex.join(["mobilekd", "export", source, "--backend", backend.name, *chip])
    if "mixed" in backend.precisions:
        option = keep_option([*found.in_float, *worst])
        return f"{words} {command} {option} does it, where the training photographs are."
    own = manifest.precision
    more = FINER[FINER.index(own) + 1 :] if own in FINER else FINER
    finer = next((one for one in more if one in backend.precisions), None)
    if finer is None:
        return f"{words} {backend.name} has no option for it."
    whole = shlex.join(["--precision", finer])
    return (
        f"{words} {backend.name} has no option for single layers; {command} {whole} keeps all of"
        " them."
    )
