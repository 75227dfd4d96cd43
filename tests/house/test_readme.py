"""The README's commands, run in its order on a small data set in HAM10000's own layout."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from fixtures.reference import COMMAND, exported_reference

from mobilekd.cli import commands, main
from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable

#: What the README leaves out so that its reader trains for real: the recipe's reduction, still on
#: the README's data.
SMALL = {
    "teach": ["--smoke", "--set", "data.kind=ham10000"],
    "distill": [
        "--smoke",
        "--set",
        "data.kind=ham10000",
        "--set",
        "gates.agreement=0",
        "--set",
        "gates.accuracy_drop=1",
        "--set",
        "gates.sqnr_db=1",
    ],
    "bench": ["--samples", "20", "--threads", "1"],
}

#: A student that is lowered in a third of the time, where none is measured.
SMALLER = [
    "--set",
    "student.width=0.1",
    "--set",
    'student.adapt=["depth:0.1", "head:32", "bounded"]',
]


def blocks(text: str) -> list[list[str]]:
    """The commands of each block marked runnable."""
    found = re.findall(r"<!-- runnable(?:, printed)? -->\n```console\n(.*?)```", text, flags=re.S)
    return [
        [
            line.removeprefix("$ ")
            for line in block.replace("\\\n", "").splitlines()
            if line.startswith("$ ")
        ]
        for block in found
    ]


def printed(text: str) -> list[tuple[str, str]]:
    """(command, what the page says that it prints) of each block marked so."""
    found = re.findall(r"<!-- [^>]*printed -->\n```console\n(.*?)```", text, flags=re.S)
    return [
        (command, output)
        for block in found
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.M)
    ]


def prints_as_shown(shown: str, output: str) -> bool:
    """Whether ``output`` is what the page shows; ``...`` stands for any text."""
    pattern = ".*?".join(map(re.escape, shown.strip().split("...")))
    return re.fullmatch(pattern, output.strip(), flags=re.S) is not None


def sentences(text: str) -> list[str]:
    """Sentences of running text, without code, tables, pictures and headings."""
    text = re.sub(r"^```.*?^```|<[^>]+>", "", text, flags=re.S | re.M)
    kept = [line for line in text.splitlines() if not line.startswith(("#", "|"))]
    paragraphs = re.split(r"\n\s*\n|\n- ", "\n".join(kept))
    joined = [" ".join(one.split()) for one in paragraphs]
    plain = [re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", one) for one in joined]
    found = [one for part in plain for one in re.split(r"(?<=[.:;])\s", part)]
    return [one for one in found if len(one.split()) > 2]


def ham10000_of(synthetic: DataTable, root: Path) -> Path:
    """Generated photographs in the layout of the public download."""
    dataset = load(synthetic)
    with (root / "HAM10000_metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"])
        for i, name in enumerate(dataset.ids):
            part = root / f"HAM10000_images_part_{1 + i % 2}"
            part.mkdir(exist_ok=True)
            dataset.photograph(i).save(part / f"{name}.jpg", quality=95)
            table.writerow(
                [
                    dataset.lesions[i],
                    name,
                    dataset.classes[dataset.targets[i]].key,
                    "histo",
                    "50.0",
                    "male",
                    "back",
                ]
            )
    return root


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    return (checkout / "README.md").read_text(encoding="utf-8")


def test_every_command_line_of_the_readme_parses(readme: str):
    lines = re.findall(r"^\$ (mobilekd (?:[^\\\n]|\\\n)*)", readme, flags=re.M)
    assert len(lines) > 8
    for line in lines:
        commands().parse(shlex.split(line.replace("\\\n", ""))[1:])


def test_every_command_is_in_the_readme(readme: str):
    for name in commands().parsers:
        assert re.search(rf"`{name}\b", readme), name


def test_links_lead_somewhere(readme: str, checkout: Path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", readme):
        assert (checkout / target).exists(), target


def test_it_is_one_page_in_short_sentences(readme: str):
    assert len(readme.split()) <= 1200
    assert len(readme.splitlines()) <= 170
    first = readme.index("$ mobilekd")
    assert len(readme[:first].split()) <= 200
    lengths = [len(one.split()) for one in sentences(readme)]
    assert sum(lengths) / len(lengths) < 18
    assert max(lengths) < 40


def test_pictures_are_there(readme: str, checkout: Path):
    found = re.findall(r"(?:src|srcset)=\"([^\"]+)\"", readme)
    assert len(found) == 2
    for picture in found:
        assert (checkout / picture).is_file(), f"{picture}: run make docs-pictures"


def test_a_stale_print_is_told(readme: str):
    for _, shown in printed(readme):
        assert prints_as_shown(shown, shown.replace("...", "anything"))
        assert not prints_as_shown(shown, shown.replace(">= 0.98", ">= 0.99").replace("nv", "mel"))


def test_it_prints_what_it_shows(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The first command runs once for all tests that want its file."""
    place, said = exported_reference()
    here = shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(here)
    found = printed(readme)
    assert len(found) >= 2
    assert found[0][0] == COMMAND
    for command, shown in found:
        capfd.readouterr()
        if command == COMMAND:
            output = said
        else:
            assert main(shlex.split(command)[1:]) == 0, command
            output = capfd.readouterr().out
        assert prints_as_shown(shown, output), f"{command} prints\n{output}"


def test_the_commands_run(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("data/ham10000").mkdir(parents=True)
    root = ham10000_of(DataTable(kind="synthetic", count=240, size=48), Path("data/ham10000"))
    with (root / "HAM10000_metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        place = Path("photographs", row["dx"])
        place.mkdir(parents=True, exist_ok=True)
        [source] = root.glob(f"*/{row['image_id']}.jpg")
        (place / source.name).write_bytes(source.read_bytes())
    first = next(Path("photographs/nv").glob("*.jpg"))
    first.rename(first.with_name("one.jpg"))

    marked = blocks(readme)
    assert len(marked) == 3
    for line in (line for block in marked for line in block):
        words = shlex.split(line)[1:]
        # the README's own --set comes last and wins; artifacts stay together
        place = len(words) if words[0] == "bench" else 2
        small = SMALL.get(words[0], [])
        if "photographs" in words:
            small = [word.replace("kind=ham10000", "kind=folder") for word in small]
            small += SMALLER if words[0] == "distill" else []
        code = main([*words[:place], *small, *words[place:], "--json"])
        output, errors = capfd.readouterr()
        assert code == 0, f"{line}\n{errors[-2000:]}"
        json.loads(output)
    assert Path("report.html").exists()
