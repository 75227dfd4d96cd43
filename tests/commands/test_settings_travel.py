"""What was set for teach need not be said to distill again: the run's folder stands for it."""

from fixtures.small import photographs, taught

from mobilekd.formats.recipe_file import load_recipe


def test_a_runs_folder_is_its_recipe_with_all_that_was_set(tmp_path):
    runs = tmp_path / "runs"
    recipe = taught(photographs(tmp_path / "data"), runs, "name=mine", "train.lr=0.0123")
    again = load_recipe(str(runs / "mine"))
    assert again == recipe
    assert again.data.root == str(tmp_path / "data")
    assert load_recipe(str(runs / "mine"), ["train.lr=0.5"]).train.lr == 0.5
