"""The fastest engine that gives a teacher's numbers: ExecuTorch's XNNPACK on CPU, half precision on
CUDA, the eager network elsewhere.

Measured on two cores, an fp32 teacher in XNNPACK runs a distillation step's forward pass about
twice as fast as eager torch in channels_last, and faster than ``torch.compile``; it is lowered in
seconds, so it pays after a few batches.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mobilekd.graphs import pte
from mobilekd.support.progress import say
from mobilekd.teachers.network import Teacher
from mobilekd.teachers.program import is_program

Forward = Callable[[Tensor], Tensor]

#: Logits may differ from eager by this much before the engine is refused; fp32 kernels sum in
#: another order.
TOLERANCE = 1e-3


#: The same for half precision, whose significand has 11 bits; a student's own bfloat16 has 8.
HALF_TOLERANCE = 0.05

#: Photographs below which lowering (10 to 20 s) costs more than it saves.
PAYS_AFTER = 5000


def fastest(teacher: Teacher, example: Tensor, photographs: int) -> tuple[Forward, str]:
    """A function ``[B, 3, H, W] -> [B, C]`` equal to ``teacher``, and the name of what runs it.

    ``example`` has the batch size that will be asked for, another size runs eagerly;
    ``photographs`` is how many will be.
    """
    if is_program(teacher):
        return teacher, "its own program"
    if example.device.type == "cuda":
        return _halved(teacher, example)
    if example.device.type != "cpu" or photographs < PAYS_AFTER:
        return teacher, f"eager on {example.device.type}"
    try:
        lowered = _xnnpack(teacher, example.contiguous())
    except (ImportError, RuntimeError, AssertionError) as error:
        say(f"teacher engine: eager, because lowering it failed ({str(error).splitlines()[0]})")
        return teacher, "eager"
    difference = (lowered(example) - teacher(example)).abs().max().item()
    if not difference <= TOLERANCE:
        say(f"teacher engine: eager, because XNNPACK's logits differ by {difference:.2g}")
        return teacher, "eager"
    say(f"teacher engine: ExecuTorch XNNPACK, equal to eager within {difference:.1e}")
    size = example.shape[0]
    return lambda x: lowered(x) if x.shape[0] == size else teacher(x), "executorch-xnnpack"


def _halved(teacher: Teacher, example: Tensor) -> tuple[Forward, str]:
    """The teacher in half precision and channels_last, where its logits stay what they are."""
    teacher.to(memory_format=torch.channels_last)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.float16):
            return teacher(x).float()

    difference = (forward(example) - teacher(example)).abs().max().item()
    if not difference <= HALF_TOLERANCE:
        say(f"teacher engine: eager, because half precision's logits differ by {difference:.2g}")
        return teacher, "eager on cuda"
    say(f"teacher engine: half precision, equal to eager within {difference:.1e}")
    return forward, "half precision on cuda"


def _xnnpack(teacher: Teacher, example: Tensor) -> Forward:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    network = teacher.network.to(memory_format=torch.contiguous_format)
    exported = torch.export.export(network, (example,), strict=False)
    buffer = (
        to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        .to_executorch()
        .buffer
    )
    loaded = pte.runtime().load_program(buffer)
    method = loaded.load_method("forward")
    if method is None:
        raise RuntimeError("the lowered teacher has no forward method")

    # A method reads its program and the program its buffer without owning them: both live as long
    # as the function.
    alive = (buffer, loaded)

    def forward(x: Tensor, _alive: tuple[object, ...] = alive) -> Tensor:
        # The runtime reads memory as it lies: a channels_last tensor would be silently misread. The
        # buffer it answers in is reused by the next call.
        return method.execute([x.contiguous()])[0].clone()

    return forward
