"""Every loss against a reference written again from its paper in numpy and scipy, and against its
limit cases.
"""

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax
from scipy.stats import entropy, pearsonr

from mobilekd.losses import (
    FEATURE_LOSSES,
    LOGIT_LOSSES,
    LOSSES,
    attention_transfer,
    crd_in_batch,
    cross_entropy,
    dist,
    dkd,
    embedding,
    fitnets,
    hard_label,
    hinton,
    logit_standardisation,
    multi_level,
    rkd,
)

temperatures = st.floats(0.5, 20)
#: No shrinking: the mutants of ``test_loss_mutants.py`` fail these tests on purpose, a hundred
#: times.
quick = settings(
    max_examples=10, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)


def logits(seed: int, batch: int = 5, classes: int = 7, scale: float = 3.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (batch, classes)))


def pair(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    target = torch.from_numpy(np.random.default_rng(seed + 2).integers(0, 7, 5))
    return logits(seed), logits(seed + 1), target


def features(seed: int, batch: int = 5, channels: int = 6, side: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (batch, channels, side, side)))


def assert_equals(value: torch.Tensor, reference: object) -> None:
    np.testing.assert_allclose(value.detach().numpy(), np.asarray(reference), rtol=1e-6, atol=1e-8)


# ---- references
# ------------------------------------------------------------


@quick
@given(st.integers(0, 999), st.floats(0, 0.5))
def test_cross_entropy_is_the_surprise_of_the_smoothed_target(seed: int, smoothing: float) -> None:
    student, _, target = pair(seed)
    q = np.eye(7)[target] * (1 - smoothing) + smoothing / 7
    reference = -(q * log_softmax(student.numpy(), 1)).sum(1)
    assert_equals(cross_entropy(student, None, target, label_smoothing=smoothing), reference)
    assert_equals(
        cross_entropy(
            student, None, torch.eye(7, dtype=torch.double)[target], label_smoothing=smoothing
        ),
        reference,
    )


@quick
@given(st.integers(0, 999), temperatures)
def test_hinton_is_scipys_relative_entropy_from_teacher_to_student(seed: int, t: float) -> None:
    student, teacher, _ = pair(seed)
    reference = t**2 * entropy(
        softmax(teacher.numpy() / t, 1), softmax(student.numpy() / t, 1), axis=1
    )
    assert_equals(hinton(student, teacher, None, temperature=t), reference)


@quick
@given(st.integers(0, 999))
def test_hard_label_is_cross_entropy_with_the_teachers_decision(seed: int) -> None:
    student, teacher, _ = pair(seed)
    reference = -log_softmax(student.numpy(), 1)[np.arange(5), teacher.numpy().argmax(1)]
    assert_equals(hard_label(student, teacher, None), reference)


@quick
@given(st.integers(0, 999), temperatures, st.floats(0, 4), st.floats(0, 8))
def test_dkd_weighs_the_target_and_the_other_classes(
    seed: int, t: float, alpha: float, beta: float
) -> None:
    student, teacher, target = pair(seed)
    reference = []
    for z_s, z_t, y in zip(student.numpy() / t, teacher.numpy() / t, target.numpy(), strict=True):
        p_s, p_t = softmax(z_s), softmax(z_t)
        tckd = entropy([p_t[y], 1 - p_t[y]], [p_s[y], 1 - p_s[y]])
        nckd = entropy(softmax(np.delete(z_t, y)), softmax(np.delete(z_s, y)))
        reference.append(t**2 * (alpha * tckd + beta * nckd))
    assert_equals(dkd(student, teacher, target, alpha=alpha, beta=beta, temperature=t), reference)


@quick
@given(st.integers(0, 999), temperatures)
def test_dkd_with_the_coupled_weight_is_hinton(seed: int, t: float) -> None:
    """KL = TCKD + (1 - p_t of the target) NCKD: the identity that DKD starts from."""
    student, teacher, target = pair(seed)
    not_target = 1 - torch.softmax(teacher / t, 1)[torch.arange(5), target]
    coupled = dkd(student, teacher, target, alpha=1, beta=0, temperature=t)
    coupled = coupled + not_target * dkd(student, teacher, target, alpha=0, beta=1, temperature=t)
    assert_equals(coupled, hinton(student, teacher, None, temperature=t))


@quick
@given(st.integers(0, 999), temperatures)
def test_dist_is_one_minus_pearson_in_rows_and_columns(seed: int, t: float) -> None:
    student, teacher, _ = pair(seed)
    p_s, p_t = softmax(student.numpy() / t, 1), softmax(teacher.numpy() / t, 1)
    rows = [1 - pearsonr(a, b)[0] for a, b in zip(p_s, p_t, strict=True)]
    columns = np.mean([1 - pearsonr(a, b)[0] for a, b in zip(p_s.T, p_t.T, strict=True)])
    assert_equals(
        dist(student, teacher, None, beta=2, gamma=0.5, temperature=t),
        t**2 * (2 * np.array(rows) + 0.5 * columns),
    )


@quick
@given(st.integers(0, 999), temperatures)
def test_logit_standardisation_is_hinton_on_z_scores(seed: int, t: float) -> None:
    student, teacher, _ = pair(seed)
    z_s, z_t = (
        (z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True)
        for z in (student.numpy(), teacher.numpy())
    )
    reference = t**2 * entropy(softmax(z_t / t, 1), softmax(z_s / t, 1), axis=1)
    np.testing.assert_allclose(
        logit_standardisation(student, teacher, None, temperature=t).numpy(), reference, rtol=1e-5
    )


@quick
@given(st.integers(0, 999), temperatures)
def test_multi_level_adds_gram_matrices_of_photographs_and_classes(seed: int, t: float) -> None:
    student, teacher, _ = pair(seed)
    p_s, p_t = softmax(student.numpy() / t, 1), softmax(teacher.numpy() / t, 1)
    instance = t**2 * entropy(p_t, p_s, axis=1).mean()
    photographs = ((p_s @ p_s.T - p_t @ p_t.T) ** 2).sum() / 5
    classes = ((p_s.T @ p_s - p_t.T @ p_t) ** 2).sum() / 7
    value = multi_level(student, teacher, None, lowest=t, highest=t, steps=1)
    np.testing.assert_allclose(value.mean().item(), instance + photographs + classes, rtol=1e-5)


def test_multi_level_is_the_mean_over_its_temperatures() -> None:
    student, teacher, _ = pair(3)
    each = [
        multi_level(student, teacher, None, lowest=t, highest=t, steps=1) for t in (2.0, 3.0, 4.0)
    ]
    torch.testing.assert_close(
        multi_level(student, teacher, None, lowest=2, highest=4, steps=3), torch.stack(each).mean(0)
    )


@quick
@given(st.integers(0, 999))
def test_fitnets_is_the_mean_squared_error_of_one_photograph(seed: int) -> None:
    student, teacher = features(seed), features(seed + 1)
    assert_equals(
        fitnets(student, teacher, None),
        [np.mean((a - b) ** 2) for a, b in zip(student.numpy(), teacher.numpy(), strict=True)],
    )


@quick
@given(st.integers(0, 999))
def test_attention_transfer_compares_normalised_energy_maps(seed: int) -> None:
    student, teacher = features(seed), features(seed + 1, channels=9)
    reference = []
    for a, b in zip(student.numpy(), teacher.numpy(), strict=True):
        q_s, q_t = ((x**2).sum(0).ravel() for x in (a, b))
        reference.append(((q_s / np.linalg.norm(q_s) - q_t / np.linalg.norm(q_t)) ** 2).sum())
    assert_equals(attention_transfer(student, teacher, None), reference)


def test_embedding_is_one_minus_the_cosine_and_teaches_the_student_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(5, 7, generator=generator).requires_grad_() for _ in range(2))
    a, b = (x.detach().double().numpy() for x in (student, teacher))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    value = embedding(student, teacher, None)
    assert value.tolist() == pytest.approx(1 - (a * b).sum(1) / lengths, abs=1e-5)
    value.sum().backward()
    assert student.grad is not None
    assert teacher.grad is None


def huber(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    d = np.abs(a - b)
    return np.where(d < 1, d**2 / 2, d - 0.5)


@quick
@given(st.integers(0, 999))
def test_rkd_averages_to_the_papers_distances_and_angles(seed: int) -> None:
    student, teacher = logits(seed, 4, 6).numpy(), logits(seed + 1, 4, 9).numpy()
    d_s, d_t = (d / d[d > 0].mean() for d in (cdist(student, student), cdist(teacher, teacher)))

    def angle(e: np.ndarray, i: int, j: int, k: int) -> float:
        a, b = e[j] - e[i], e[k] - e[i]
        return 0.0 if i in (j, k) else float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    every = [(i, j, k) for i in range(4) for j in range(4) for k in range(4)]
    angles = np.mean(
        [huber(np.array(angle(student, *x)), np.array(angle(teacher, *x))) for x in every]
    )
    value = rkd(torch.from_numpy(student), torch.from_numpy(teacher), None, distance=25, angle=50)
    np.testing.assert_allclose(
        value.mean().item(), 25 * huber(d_s, d_t).mean() + 50 * angles, rtol=1e-6
    )


@quick
@given(st.integers(0, 999), st.floats(0.05, 1))
def test_crd_picks_the_same_photograph_among_the_batch(seed: int, t: float) -> None:
    student, teacher = logits(seed, 5, 8).numpy(), logits(seed + 1, 5, 8).numpy()
    similarity = 1 - cdist(student, teacher, "cosine")
    reference = -np.diag(log_softmax(similarity / t, 1))
    assert_equals(
        crd_in_batch(torch.from_numpy(student), torch.from_numpy(teacher), None, temperature=t),
        reference,
    )


# ---- limit cases
# ------------------------------------------------------------

AGREEABLE = sorted({*LOGIT_LOSSES, "fitnets", "attention_transfer", "rkd"} - {"hard_label"})


def example(name: str, seed: int) -> torch.Tensor:
    """An input of the kind that the loss compares."""
    if name in ("fitnets", "attention_transfer"):
        return features(seed)
    return logits(seed)


@pytest.mark.parametrize("name", AGREEABLE)
def test_zero_at_agreement_and_positive_elsewhere(name: str) -> None:
    target = torch.tensor([0, 1, 2, 3, 4])
    here, there = example(name, 1), example(name, 2)
    assert LOSSES[name](here, here, target).abs().max() < 1e-6
    assert LOSSES[name](here, there, target).mean() > 1e-3


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_finite_value_per_example_and_a_gradient_for_the_student_alone(name: str) -> None:
    student, teacher = example(name, 1).requires_grad_(), example(name, 2).requires_grad_()
    value = LOSSES[name](student, teacher, torch.tensor([0, 1, 2, 3, 4]))
    assert value.shape == (5,)
    value.mean().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().sum() > 0
    # its teacher's embedding head is trained; the objective detaches the network below
    if name != "crd_in_batch":
        assert teacher.grad is None


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_step_down_the_gradient_lowers_the_loss(name: str) -> None:
    student, teacher, target = (
        example(name, 1).requires_grad_(),
        example(name, 2),
        torch.tensor([0, 1, 2, 3, 4]),
    )
    before = LOSSES[name](student, teacher, target).mean()
    (slope,) = torch.autograd.grad(before, student)
    after = LOSSES[name](student - 1e-3 * slope / slope.norm(), teacher, target).mean()
    assert after < before


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"cross_entropy", "hard_label"}))
def test_gradients_equal_finite_differences(name: str) -> None:
    teacher, target = example(name, 2), torch.tensor([0, 1, 2, 3, 4])
    assert torch.autograd.gradcheck(
        lambda x: LOSSES[name](x, teacher, target), (example(name, 1).requires_grad_(),)
    )


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_order_of_the_batch_does_not_matter(name: str) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    student, teacher, target = example(name, 1), example(name, 2), torch.tensor([0, 1, 2, 3, 4])
    torch.testing.assert_close(
        LOSSES[name](student, teacher, target)[order],
        LOSSES[name](student[order], teacher[order], target[order]),
    )


@pytest.mark.parametrize("name", sorted(LOGIT_LOSSES))
def test_adding_a_constant_to_a_photographs_logits_changes_nothing(name: str) -> None:
    student, teacher, target = pair(4)
    shift = torch.arange(5.0).double()[:, None]
    torch.testing.assert_close(
        LOSSES[name](student + shift, teacher - shift, target),
        LOSSES[name](student, teacher, target),
    )


@pytest.mark.parametrize("name", sorted(set(LOGIT_LOSSES) - {"dist"}))
def test_extreme_logits_stay_finite(name: str) -> None:
    """A sure teacher and a student that is surely wrong: probabilities underflow, logarithms must
    not.
    """
    student, teacher = torch.tensor([[200.0, -200.0, 0.0]]), torch.tensor([[-200.0, 200.0, 0.0]])
    student.requires_grad_()
    value = LOSSES[name](student, teacher, torch.tensor([1]))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(student.grad).all()


@quick
@given(st.integers(0, 999))
def test_hinton_at_a_high_temperature_is_the_squared_distance_of_centred_logits(seed: int) -> None:
    student, teacher, _ = pair(seed)
    centred = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    torch.testing.assert_close(
        hinton(student, teacher, None, temperature=1e4),
        centred.pow(2).sum(1) / (2 * 7),
        rtol=2e-3,
        atol=1e-4,
    )


@quick
@given(st.integers(0, 999), st.floats(1, 8), st.floats(0.5, 4))
@pytest.mark.parametrize("name", ["hinton", "dkd", "dist"])
def test_scaling_logits_and_temperature_together_scales_the_loss_by_the_square(
    name: str, seed: int, t: float, k: float
) -> None:
    student, teacher, target = pair(seed)
    scaled = LOSSES[name](k * student, k * teacher, target, temperature=k * t)
    torch.testing.assert_close(scaled, k**2 * LOSSES[name](student, teacher, target, temperature=t))


@quick
@given(st.integers(0, 999), st.floats(0.2, 5))
def test_invariances_that_the_papers_promise(seed: int, k: float) -> None:
    student, teacher, _ = pair(seed)
    torch.testing.assert_close(
        logit_standardisation(k * student + 1, teacher, None),
        logit_standardisation(student, teacher, None),
        rtol=1e-5,
        atol=1e-7,
    )
    torch.testing.assert_close(rkd(k * student + 1, teacher, None), rkd(student, teacher, None))
    here, there = features(seed), features(seed + 1)
    torch.testing.assert_close(
        attention_transfer(k * here, there, None), attention_transfer(here, there, None)
    )
    torch.testing.assert_close(
        crd_in_batch(k * student, teacher, None), crd_in_batch(student, teacher, None)
    )


def test_crd_of_indistinguishable_embeddings_is_the_logarithm_of_the_batch() -> None:
    same = torch.ones(6, 4)
    torch.testing.assert_close(crd_in_batch(same, same, None), torch.full((6,), float(np.log(6))))


def test_relations_survive_a_batch_of_one_and_identical_photographs() -> None:
    for embeddings in (torch.randn(1, 8), torch.ones(4, 8)):
        student = embeddings.clone().requires_grad_()
        rkd(student, torch.randn_like(embeddings), None).sum().backward()
        assert torch.isfinite(student.grad).all()


def test_a_mixed_target_counts_by_its_greatest_share() -> None:
    student, teacher, target = pair(6)
    soft = (
        0.7 * torch.eye(7, dtype=torch.double)[target]
        + 0.3 * torch.eye(7, dtype=torch.double)[(target + 1) % 7]
    )
    torch.testing.assert_close(dkd(student, teacher, soft), dkd(student, teacher, target))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_names_its_paper(name: str) -> None:
    assert any(mark in (LOSSES[name].__doc__ or "") for mark in ("arXiv", "CVPR")), name
    assert name in FEATURE_LOSSES or name in LOGIT_LOSSES or name == "cross_entropy"


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_outputs_that_are_all_equal_have_a_finite_gradient(name: str) -> None:
    """A student that says the same of every class and every photograph must be able to learn."""
    maps = name in ("fitnets", "attention_transfer")
    shape = (6, 5, 2, 2) if maps else (6, 5)
    student = torch.full(shape, 0.3, requires_grad=True)
    for teacher in (student.detach(), torch.randn(shape, generator=torch.manual_seed(0))):
        value = LOSSES[name](student, teacher, torch.arange(6) % 5).mean()
        (gradient,) = torch.autograd.grad(value, student)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_a_deviation_above_rounding_is_divided_out_as_before() -> None:
    student = torch.randn(4, 7, generator=torch.manual_seed(0)) * 1e-2
    teacher = torch.randn(4, 7, generator=torch.manual_seed(1))
    wanted = logit_standardisation(100 * student, teacher, None)
    assert torch.allclose(logit_standardisation(student, teacher, None), wanted, rtol=1e-4)
