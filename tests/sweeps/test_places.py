"""Every file and folder that a recipe names is looked for on a node, and nothing else."""

from fixtures.recipes import PLAIN

from mobilekd.formats.recipe import places
from mobilekd.formats.recipe_file import load_recipe


def test_a_recipe_of_generated_photographs_names_no_place():
    assert places(load_recipe(PLAIN, ["data.map={root='nv'}"])) == []


def test_every_kind_of_place_is_named_by_its_key():
    recipe = load_recipe(
        PLAIN,
        [
            "data=[{kind='csv', root='a', labels='b.csv'}, {kind='folder', root='c'}]",
            "unlabelled.folders=['d', 'e']",
            "split.by=lists",
            "split.lists='f.json'",
            "teachers=[{model='test_resnet', weights='g.pth'},"
            " {model='onnx', trained='h.onnx'}, {model='test_resnet', weights='hub'}]",
            "student.weights='reference:ham10000-lesionnet'",
        ],
    )
    assert dict(places(recipe)) == {
        "data.0.root": "a",
        "data.0.labels": "b.csv",
        "data.1.root": "c",
        "unlabelled.folders": "e",
        "split.lists": "f.json",
        "teachers.0.weights": "g.pth",
        "teachers.1.trained": "h.onnx",
    }
    assert ("unlabelled.folders", "d") in places(recipe)


def test_ids_to_leave_out_are_no_places():
    listed = load_recipe(PLAIN, ["data.exclude=['one', 'two']"])
    assert places(listed) == []
    in_a_file = load_recipe(PLAIN, ["data.exclude='left-out.csv'"])
    assert places(in_a_file) == [("data.exclude", "left-out.csv")]
