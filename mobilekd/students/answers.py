"""What a network's answers to noise say of it, before an epoch is spent: mistakes that train
without a word and show only in what comes of it.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

#: Photographs of noise.
NOISE = 4

#: How near a sum of probabilities is to one.
NEAR = 1e-3

#: What autograd calls the last step of a network that answers probabilities of its classes, each
#: by itself.
GATES = ("SigmoidBackward0", "HardsigmoidBackward0")


def learns_nothing(model: nn.Module) -> str | None:
    """A clause where no parameter would be trained; None where one is."""
    if any(each.requires_grad for each in model.parameters()):
        return None
    return "none of its parameters is trained; leave out requires_grad_(False)"


def answer_fault(
    model: nn.Module, again: Callable[[], nn.Module], height: int, width: int
) -> str | None:
    """What is wrong with the logits ``[B, C]`` that a ``model`` of somebody's own gives for noise,
    as a clause with its remedy; None where nothing is. ``again`` makes the same network anew.

    A softmax at the end is taken twice, a layer in a plain list is neither trained nor saved, and
    chance in eval mode makes every measurement a draw.
    """
    noise = torch.randn(NOISE, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        tried = copy.deepcopy(model).eval()
        one, two = tried(noise), tried(noise)
        if not one.isfinite().all():
            value = one[~one.isfinite()][0].item()
            return f"it answers {value} to noise; keep logarithms, roots and quotients off zero"
        if not torch.allclose(one, two, rtol=1e-3, atol=1e-5):
            return (
                "its answers change from call to call in eval mode; draw only where self.training"
                " is true"
            )
        alone = tried(noise[:1])
        if alone.shape != one[:1].shape:
            return (
                f"one photograph gives {list(alone.shape)}, not {list(one[:1].shape)}; name the"
                " axes that squeeze or view takes away"
            )
        if are_probabilities(one) or (one.grad_fn is not None and one.grad_fn.name() in GATES):
            return (
                "its answers are probabilities, and losses take logits; leave out the softmax or"
                " sigmoid at its end"
            )
        torch.manual_seed(1)
        other = again().eval()
        other.load_state_dict(tried.state_dict())
        if not torch.allclose(one, other(noise), rtol=1e-3, atol=1e-5):
            return (
                "saved and loaded it answers otherwise, so its state_dict lacks something; keep"
                " layers in nn.ModuleList or nn.Sequential, not in a list, and tensors in"
                " nn.Parameter or register_buffer"
            )
    return None


def are_probabilities(answers: Tensor) -> bool:
    """Whether answers ``[B, C]`` are none below zero and sum to one."""
    return answers.min().item() >= 0 and (answers.sum(1) - 1).abs().max().item() < NEAR
