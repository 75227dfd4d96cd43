"""The step in torchdistill 1.1.5, its own way: a DistillationBox from a configuration,
torchvision's data set and transforms.
"""

import logging
from collections.abc import Iterator
from typing import Any

import timm
import torch
from torch.utils.data import RandomSampler
from torchdistill.core.distillation import get_distillation_box
from torchvision import transforms
from torchvision.datasets import ImageFolder
from worker import Step, serve


def augmentation(step: Step) -> transforms.Compose:
    """Resized first, so that the warp costs least."""
    return transforms.Compose(
        [
            transforms.Resize(step.storage),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomAffine(
                step.rotation,
                (step.translate, step.translate),
                (1 - step.scale, 1 + step.scale),
                interpolation=transforms.InterpolationMode.BILINEAR,
            ),
            transforms.ColorJitter(step.jitter, step.jitter, step.jitter, step.hue),
            transforms.CenterCrop(step.storage),
            transforms.Resize((step.size, step.size)),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )


def configuration(step: Step) -> dict[str, Any]:
    endless = {
        "class_or_func": RandomSampler,
        "kwargs": {"replacement": True, "num_samples": 10**8},
    }
    logits = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
    }
    kd = {
        "key": "KDLoss",
        "kwargs": {
            **logits,
            "temperature": step.temperature,
            "alpha": step.alpha,
            "reduction": "batchmean",
        },
    }
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": endless,
            "kwargs": {"batch_size": step.batch, "num_workers": step.workers, "drop_last": True},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only"},
        "optimizer": {"key": "AdamW", "kwargs": {"lr": step.lr, "weight_decay": step.weight_decay}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": kd, "weight": 1.0}}},
        },
    }


def main() -> None:
    step = Step.from_arguments()
    logging.disable(logging.INFO)
    torch.set_num_threads(step.threads)
    torch.manual_seed(0)
    teacher = timm.create_model(step.teacher, num_classes=step.classes)
    student = timm.create_model(
        f"mobilenetv2_{round(100 * step.student_width):03d}", num_classes=step.classes
    )
    photographs = ImageFolder(step.photographs, augmentation(step))
    box = get_distillation_box(
        teacher.eval(),
        student,
        {"train": photographs},
        configuration(step),
        torch.device("cpu"),
        None,
        False,
        1,
    )
    box.pre_epoch_process(epoch=0)
    stream: Iterator[Any] = iter(box.train_data_loader)

    def fresh() -> int:
        for _ in range(step.steps):
            batch, targets, supplement = next(stream)
            loss = box.forward_process(batch, targets, supplement)
            box.post_forward_process(loss)
        return step.steps * step.batch

    parameters = [
        sum(value.numel() for value in network.parameters()) for network in (teacher, student)
    ]
    serve({"fresh": fresh}, {"parameters": parameters, "torch": torch.__version__})


if __name__ == "__main__":
    main()
