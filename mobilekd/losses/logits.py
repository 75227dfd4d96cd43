"""Losses over logits. ``student`` and ``teacher`` are logits ``[B, C]``; the answer is one value
per example, ``[B]``.

``target`` is int64 ``[B]`` or probabilities ``[B, C]`` (mixed photographs). The teacher is never
differentiated.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

#: Logits that vary less than this are equal, but for what rounding adds.
LEAST_VARIANCE = 1e-8


def cross_entropy(
    student: Tensor, teacher: Tensor | None, target: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """``-sum q log p_s``: the control's loss. ``q`` is the target, smoothed towards uniform (arXiv
    1512.00567).
    """
    return F.cross_entropy(student, target, reduction="none", label_smoothing=label_smoothing)


def hinton(
    student: Tensor, teacher: Tensor, target: Tensor | None, *, temperature: float = 4.0
) -> Tensor:
    """``T^2 KL(p_t, p_s)`` with ``p = softmax(z / T)`` (arXiv 1503.02531).

    T^2 keeps the gradient's size when T changes; as T grows the loss becomes the squared distance
    of centred logits over twice the number of classes.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach() / temperature, dim=1)
    return (
        F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)
        * temperature**2
    )


def hard_label(student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
    """Cross-entropy with the teacher's decision (DeiT, arXiv 2012.12877)."""
    return F.cross_entropy(student, teacher.detach().argmax(1), reduction="none")


def dkd(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """``T^2 (alpha TCKD + beta NCKD)``: Hinton's loss with target and non-target parts uncoupled
    (arXiv 2203.08679).

    TCKD compares ``[p_y, 1 - p_y]``; NCKD the distributions over the other classes. A mixed target
    counts by its greatest share.
    """
    label = target.argmax(1) if target.ndim == 2 else target
    is_target = F.one_hot(label, student.shape[1]).bool()
    z_s, z_t = student / temperature, teacher.detach() / temperature
    log_s, log_t = F.log_softmax(z_s, 1), F.log_softmax(z_t, 1)

    def binary(log_p: Tensor) -> Tensor:
        others = log_p.masked_fill(is_target, -torch.inf).logsumexp(1)
        return torch.stack([log_p[is_target], others], 1)

    tckd = F.kl_div(binary(log_s), binary(log_t), reduction="none", log_target=True).sum(1)
    rest_s = F.log_softmax(z_s[~is_target].view(len(student), -1), 1)
    rest_t = F.log_softmax(z_t[~is_target].view(len(student), -1), 1)
    nckd = F.kl_div(rest_s, rest_t, reduction="none", log_target=True).sum(1)
    return (alpha * tckd + beta * nckd) * temperature**2


def dist(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """``T^2 [beta (1 - row Pearson) + gamma (1 - mean column Pearson)]`` on probabilities (arXiv
    2205.10536).

    Rows compare one photograph's classes, columns one class over the batch; the columns' value is
    the same for each example, so the mean over the batch is the paper's.
    """
    p_s, p_t = F.softmax(student / temperature, 1), F.softmax(teacher.detach() / temperature, 1)
    rows = 1 - _pearson(p_s, p_t)
    columns = 1 - _pearson(p_s.T, p_t.T).mean()
    return (beta * rows + gamma * columns) * temperature**2


def logit_standardisation(
    student: Tensor, teacher: Tensor, target: Tensor | None, *, temperature: float = 2.0
) -> Tensor:
    """Hinton's loss on z-scored logits, so that shift and scale are free (arXiv 2403.01427)."""
    return hinton(_z_score(student), _z_score(teacher.detach()), target, temperature=temperature)


def multi_level(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None,
    *,
    lowest: float = 2.0,
    highest: float = 6.0,
    steps: int = 5,
) -> Tensor:
    """Agreement on three levels, averaged over ``steps`` temperatures (Jin et al., CVPR 2023,
    multi-level logit distillation).

    Instance: Hinton's loss. Batch: squared distance of the photographs' Gram matrices ``P P^T``,
    over B. Class: the same of ``P^T P``, over C; its sum is written as one share per example, so
    that the batch mean is the paper's.
    """
    total = torch.zeros_like(student[:, 0])
    for temperature in torch.linspace(lowest, highest, int(steps)).tolist():
        p_s, p_t = F.softmax(student / temperature, 1), F.softmax(teacher.detach() / temperature, 1)
        instance = hinton(student, teacher, target, temperature=temperature)
        batch = (p_s @ p_s.T - p_t @ p_t.T).pow(2).sum(1)
        gap = p_s.T @ p_s - p_t.T @ p_t  # [C, C], a sum over examples
        # they sum to the gap's squared norm
        shares = ((p_s @ gap) * p_s).sum(1) - ((p_t @ gap) * p_t).sum(1)
        total = total + instance + batch + shares * (len(student) / student.shape[1])
    return total / int(steps)


def _z_score(logits: Tensor) -> Tensor:
    """Logits of mean 0 and deviation 1 in each row; a row of equal ones becomes zeros.

    The root is kept off zero, where its slope is infinite and 0 times that is no number.
    """
    centred = logits - logits.mean(1, keepdim=True)
    variance = centred.pow(2).mean(1, keepdim=True).clamp_min(LEAST_VARIANCE)
    return centred / (variance.sqrt() + 1e-7)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation along the last axis, ``[..., N]`` -> ``[...]``."""
    return F.cosine_similarity(
        a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True), dim=-1, eps=1e-8
    )
