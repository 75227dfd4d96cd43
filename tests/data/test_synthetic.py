"""The generated photographs: deterministic, with near-duplicates, learnt by structure and not by
colour.
"""

from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mobilekd.data import Dataset, inputs, load, make_split
from mobilekd.data import synthetic as generated
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.errors import UserError


def synthetic(count: int = 60, size: int = 32, seed: int = 0) -> Dataset:
    return load(DataTable(kind="synthetic", count=count, size=size, seed=seed))


def pixels(dataset: Dataset, i: int) -> np.ndarray:
    return np.asarray(dataset.photograph(i), dtype=np.int16)


def test_a_photograph_depends_on_seed_and_number_alone() -> None:
    few, many = synthetic(30), synthetic(60)
    generated.forget()
    assert many.ids[:30] == few.ids
    assert many.targets[:30].tolist() == few.targets.tolist()
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda i: pixels(many, i), reversed(range(30))))
    generated.forget()
    for i, picture in zip(reversed(range(30)), drawn, strict=True):
        assert np.array_equal(picture, pixels(few, i))


def test_a_photograph_is_drawn_once_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 3 * 32 * 32
    monkeypatch.setattr(generated, "KEPT_BYTES", 2 * size)
    dataset, drawn = synthetic(), Mock(wraps=generated.paint_skin)
    monkeypatch.setattr(generated, "paint_skin", drawn)
    generated.forget()
    first = pixels(dataset, 0)
    changed = dataset.photograph(0)
    changed.putpixel((0, 0), (1, 2, 3))  # whoever asks may change what it is given
    for i, draws in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        picture = pixels(dataset, i)
        assert drawn.call_count == draws, (i, draws)
        assert np.array_equal(picture, first) == (i == 0)


def test_another_seed_is_other_data_under_other_names() -> None:
    first, second = synthetic(seed=0), synthetic(seed=1)
    assert first.hash != second.hash
    assert not set(first.ids) & set(second.ids)
    assert not set(first.lesions) & set(second.lesions)
    assert not np.array_equal(pixels(first, 0), pixels(second, 0))


def test_photographs_of_one_lesion_resemble_each_other() -> None:
    dataset = synthetic(300)
    assert len(set(dataset.lesions)) < 300
    for lesion in set(dataset.lesions):
        assert (
            len(
                {
                    int(t)
                    for t, name in zip(dataset.targets, dataset.lesions, strict=True)
                    if name == lesion
                }
            )
            == 1
        )
    pairs = [i for i in range(299) if dataset.lesions[i] == dataset.lesions[i + 1]][:40]
    strangers = [
        (i, j)
        for i in pairs
        for j in range(300)
        if dataset.targets[i] == dataset.targets[j] and abs(i - j) > 2
    ]

    def apart(i: int, j: int) -> float:
        return float(
            np.abs(pixels(dataset, i).mean((0, 1)) - pixels(dataset, j).mean((0, 1))).mean()
        )

    same = np.median([apart(i, i + 1) for i in pairs])
    assert same < 0.7 * np.median(
        [apart(i, j) for i, j in strangers[:: max(1, len(strangers) // 60)]]
    )
    assert all(not np.array_equal(pixels(dataset, i), pixels(dataset, i + 1)) for i in pairs[:5])


def test_even_a_small_set_has_every_class_in_every_part() -> None:
    dataset = synthetic(28)
    split = make_split(dataset, SplitTable(validation=0.2, test=0.2))
    for ids in (split.train, split.validation, split.test):
        assert set(dataset.targets[dataset.rows(ids)]) == set(range(7))


def test_classes_are_unequal() -> None:
    counts = synthetic(600).counts().values()
    assert max(counts) > 2 * min(counts)


@pytest.mark.parametrize(
    ("count", "size", "message"), [(6, 32, "cannot show 7 classes"), (60, 31, "at least 32")]
)
def test_too_little(count: int, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        synthetic(count, size)


@pytest.fixture(scope="module")
def parts() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(photographs, targets) by role; lesions of the test part are not in the training part."""
    dataset = synthetic(900, 64)
    split = make_split(dataset, SplitTable(validation=0, test=0.3))
    roles = {"train": split.train, "test": split.test}
    return {
        role: (inputs(dataset, ids, Preprocess(64, 64)), dataset.targets[dataset.rows(ids)])
        for role, ids in roles.items()
    }


class TestDifficulty:
    """Chance is 1/7 = 0.143. What a colour and what a structure can tell, on lesions that training
    never saw.
    """

    def test_mean_colour_says_little(self, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        (train, truth), (test, test_truth) = parts["train"], parts["test"]
        linear = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced")
        )
        linear.fit(train.mean((2, 3)), truth)
        assert balanced_accuracy_score(test_truth, linear.predict(test.mean((2, 3)))) < 0.6

    def test_a_small_network_sees_the_structure(
        self, parts: dict[str, tuple[np.ndarray, np.ndarray]]
    ) -> None:
        (train, truth), (test, test_truth) = parts["train"], parts["test"]
        answers = small_network(train, truth)(torch.from_numpy(test).float() / 127.5 - 1).argmax(1)
        assert balanced_accuracy_score(test_truth, answers.numpy()) > 0.85


def small_network(photographs: np.ndarray, truth: np.ndarray, epochs: int = 12) -> nn.Module:
    """Four convolutions trained on one thread: uint8 ``[N, 3, H, W]`` -> a network in eval mode;
    about 18 s of CPU.
    """
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def block(inputs: int, outputs: int, *more: nn.Module) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            *more,
        ]

    stem = [nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.ReLU()]
    trunk = [*block(24, 32, nn.MaxPool2d(2)), *block(32, 64, nn.MaxPool2d(2)), *block(64, 96)]
    network = nn.Sequential(*stem, *trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 7))
    x, y = torch.from_numpy(photographs).float() / 127.5 - 1, torch.from_numpy(truth)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, total_steps=epochs * -(-len(x) // 32)
    )
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            view = torch.rot90(x[batch], int(torch.randint(4, ())), (2, 3))
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(view), y[batch]).backward()
            optimizer.step()
            schedule.step()
    torch.set_num_threads(threads)
    return network.eval().requires_grad_(False)
