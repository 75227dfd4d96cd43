"""A beginner's words are answered with what is meant, in words of this program alone."""

import argparse
import re
import shlex

import pytest

from mobilekd import backends
from mobilekd.cli import commands, main, meant

GRAMMAR = commands()
ANSWERS = {
    **{(command, "missing"): answer for command, answer in meant.MISSING.items()},
    **{("", word): answer for word, answer in meant.COMMANDS.items()},
    **{
        (command, word): answer
        for command, words in meant.OPTIONS.items()
        for word, answer in words.items()
    },
    **{
        (command, word): answer
        for command in meant.TRAINING
        for word, answer in meant.RECIPE_OPTIONS.items()
        if word not in meant.OPTIONS.get(command, {})
    },
}


def refused(capfd: pytest.CaptureFixture[str], line: str) -> str:
    with pytest.raises(SystemExit) as stop:
        commands().parse(shlex.split(line))
    said = capfd.readouterr()
    assert stop.value.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train photographs", "mobilekd distill RECIPE"),
        ("distill", "mobilekd recipes lists the recipes"),
        ("predict mole.jpg", "a student comes first: mobilekd predict reference:NAME PHOTOGRAPH"),
        ("evaluate --set data.root=x", "write --root FOLDER"),
        ("verify --set data.root=x", "write nothing"),
        ("convert runs/x", "mobilekd export RUN"),
        ("benchmark x", "mobilekd bench ARTIFACT"),
        ("quantize runs/x", "mobilekd export RUN --precision int8"),
        ("infer runs/x a.jpg", "mobilekd predict RUN PHOTOGRAPH"),
        ("models", "mobilekd recipes"),
        ("test runs/x", "mobilekd evaluate RUN"),
        ("run", "mobilekd distill RECIPE"),
        ("deploy artifacts/x", "mobilekd apk ARTIFACT"),
        ("Train", "mobilekd distill"),
        ("export coreml", "write --backend coreml"),
        ("export runs/x int8", "write --precision int8"),
        ("export --format onnx", "--backend xnnpack"),
        ("export runs/x --int8", "write --precision int8"),
        ("export --model runs/x", "write mobilekd export runs/x"),
        ("distill ham10000 --data photographs", "write --set data.root=photographs"),
        ("distill ham10000 --epochs 3", "write --set train.epochs=3"),
        ("distill --epochs=3 ham10000", "write --set train.epochs=3"),
        ("teach ham10000 --epochs 3", "write --set teach.epochs=3"),
        ("distill ham10000 --lr 0.01", "write --set train.lr=0.01"),
        ("distill ham10000 --batch-size 8", "write --set train.batch_size=8"),
        ("distill ham10000 --batch_size 8", "write --set train.batch_size=8"),
        ("distill ham10000 --output made", "--runs made"),
        ("distill ham10000 --model lesionnet", "write --set student.model=lesionnet"),
        ("distill ham10000 --teacher resnet18", 'teachers=[{model="resnet18", weights="hub"}]'),
        ("bench x --iterations 50", "write --samples 50"),
        ("bench x -v", "--debug"),
        ("predict runs/x --images a", "mobilekd predict RUN a"),
        ("report --format md", ".md and .json appear beside the page"),
        ("--format onnx", "--format: stands before any command; mobilekd --help lists the"),
        ("distill my photographs", "unexpected photographs; a name with spaces stands in quotes"),
        ("calibrate", "mobilekd calibrate ARTIFACT --data folder --root FOLDER"),
        ("design", "mobilekd design --latency 0.5"),
        ("recipes --explain", "--explain: its value is missing; write --explain KEY"),
        ("sweep ham10000 --jobs many", "--jobs many: no whole number; write --jobs N"),
        ("design --latency fast", "--latency fast: no number; write --latency MS"),
        ("evaluate --data foldr", "--data foldr: unknown; did you mean folder? known: ham10000,"),
        ("evaluate --data .", "write --data folder --root ."),
    ],
)
def test_a_beginners_words_are_answered_with_what_is_meant(line, says, capfd):
    assert says in refused(capfd, line)


def test_help_before_a_command_is_its_help(capfd):
    with pytest.raises(SystemExit) as stop:
        commands().parse(["help", "export"])
    assert stop.value.code == 0
    assert "mobilekd export" in capfd.readouterr().out


OPTIONS_OF = {
    name: {option for action in parser._actions for option in action.option_strings}
    for name, parser in {**GRAMMAR.parsers, "": GRAMMAR.root}.items()
}


def test_an_answer_names_only_what_there_is():
    for (command, word), template in ANSWERS.items():
        assert (
            word not in GRAMMAR.parsers if not command else f"--{word}" not in OPTIONS_OF[command]
        )
        answer = meant.filled(template, command, "")
        named = re.findall(r"mobilekd ([a-z]+)", answer)
        assert set(named) <= GRAMMAR.parsers.keys(), (command, word)
        known = set().union(OPTIONS_OF[""], *(OPTIONS_OF[name] for name in named or [command]))
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", answer))
        assert options <= known, (command, word)


def test_every_set_in_an_answer_is_a_key_of_a_recipe():
    from mobilekd.formats.recipe_keys import explain

    for (command, _), answer in ANSWERS.items():
        for key in re.findall(r"--set '?([\w.]+)=", meant.filled(answer, command, "")):
            if ".options." not in key:
                explain(key)


def test_words_for_backends_and_precisions_are_those_there_are():
    made = [backends.get(name) for name in backends.names()]
    assert list(meant.BACKENDS) == backends.names()
    assert list(meant.PRECISIONS) == sorted({one for item in made for one in item.precisions})
    shown = {action.dest: action.help for action in GRAMMAR.parsers["export"]._actions}
    assert ", ".join(meant.BACKENDS) in shown["backend"]
    assert ", ".join(meant.PRECISIONS) in shown["precision"]
    for name in ("xnnpack", "coreml"):
        assert f"{backends.get(name).precisions[0]} with {name}" in shown["precision"]


def test_help_shows_every_default_and_every_choice():
    for parser in GRAMMAR.parsers.values():
        text = " ".join(parser.format_help().split())
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction):
                continue
            if action.default not in (None, False, [], ()):
                shown = parser._get_formatter()._get_help_string(action)
                assert "default" in shown, (parser.prog, action.dest)
            for choice in action.choices or ():
                assert choice in text, (parser.prog, action.dest)


@pytest.mark.parametrize(("word", "key"), [("learning_rate", "train.lr"), ("batch", "train.batch")])
def test_another_tools_word_for_a_key_is_explained(word, key, capfd):
    assert main(["recipes", "--explain", word]) == 2
    assert f"did you mean {key}" in capfd.readouterr().err
