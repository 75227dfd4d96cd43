"""Wrong recipes, and wrong words on the command line that change one."""

from pathlib import Path

from wrong_kinds import SMALL, kind


def recipe_file(path: Path, text: str) -> Path:
    path.write_text('name = "mine"\n[data]\nkind = "synthetic"\ncount = 140\nsize = 32\n' + text)
    return path


@kind("unknown key train.epoch", "did you mean epochs?", "line 7")
def unknown_recipe_key(here: Path) -> list[str]:
    return ["distill", str(recipe_file(here / "mine.toml", "[train]\nepoch = 3\n"))]


@kind("train.epochs", "greater than or equal to 1", "-3")
def value_out_of_range(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.epochs=-3"]


@kind("train.optimizer", "adamw")
def value_that_is_no_choice(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.optimizer=adam"]


@kind("mine.toml", "not valid TOML", "line 6")
def recipe_that_is_no_toml(here: Path) -> list[str]:
    return ["distill", str(recipe_file(here / "mine.toml", "[train\n"))]


@kind("demmo", "did you mean demo?")
def unknown_recipe(here: Path) -> list[str]:
    return ["teach", "demmo"]


@kind("--set train.epochs", "key=value")
def override_without_value(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.epochs"]


@kind("mixup", "train.views = 0")
def mixup_with_cached_views(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.mixup=0.2", "--set", "train.views=2"]


@kind("loss hintonn: unknown", "did you mean hinton?")
def unknown_loss(here: Path) -> list[str]:
    return ["distill", "demo", *SMALL, "--set", "losses.0.name=hintonn"]


@kind("mobilenetv9", "mobilenetv2")
def unknown_student(here: Path) -> list[str]:
    return ["distill", "demo", *SMALL, "--set", "student.model=mobilenetv9"]


@kind("torchvision:mobilnet_v2", "did you mean mobilenet_v2?")
def unknown_teacher(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "teachers.0.model=torchvision:mobilnet_v2"]


@kind("teacher vit_tiny_patch16_224", "48x48", "teachers.0.options.img_size=48")
def teacher_of_another_size(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "teachers.0.model=vit_tiny_patch16_224"]


@kind("absent.pth", "no such weights file")
def missing_teacher_weights(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "teachers.0.weights=absent.pth"]


@kind("broken.pth", "not a readable weights file")
def broken_teacher_weights(here: Path) -> list[str]:
    (here / "broken.pth").write_bytes(b"\x80\x02not weights")
    return ["teach", "demo", *SMALL, "--set", "teachers.0.weights=broken.pth"]


@kind("nowhere/teachers/0", "mobilekd teach")
def missing_trained_teacher(here: Path) -> list[str]:
    return ["distill", "demo", *SMALL, "--set", "teachers.0.trained=nowhere/teachers/0"]


@kind("--grid student.width", "KEY=A,B")
def grid_without_values(here: Path) -> list[str]:
    return ["sweep", "demo", "--smoke", "--grid", "student.width"]


@kind("none with a weight above 0", "cross_entropy")
def losses_that_weigh_nothing(here: Path) -> list[str]:
    losses = "losses=[{name='cross_entropy', weight=0.0}]"
    return ["distill", "demo", *SMALL, "--set", losses]


@kind("head:1e+09", "a whole number from 8 to 8192")
def head_that_fits_no_memory(here: Path) -> list[str]:
    student = ["--set", "student.model=mobilenetv2", "--set", "student.adapt=['head:1000000000']"]
    return ["distill", "demo", *SMALL, *student]


@kind("--grid train.lr=0.2: train.lr has values already")
def grid_of_one_key_twice(here: Path) -> list[str]:
    return ["sweep", "demo", "--smoke", "--grid", "train.lr=0.1", "--grid", "train.lr=0.2"]


@kind("data.seed", "greater than or equal to 0", "-1")
def negative_seed_of_generated_data(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "data.seed=-1"]


@kind("train.lr", "finite", "inf")
def infinite_learning_rate(here: Path) -> list[str]:
    return ["distill", "demo", *SMALL, "--set", "train.lr=inf"]


@kind("preprocess.std.0", "greater than 0")
def deviation_of_zero(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "preprocess.std=[0, 0, 0]"]


@kind("preprocess.width", "less than or equal to 4096")
def input_that_fits_no_memory(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "preprocess.width=1000000"]
