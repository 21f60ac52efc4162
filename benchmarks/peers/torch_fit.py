"""The sheet's network and its training, in the fastest form that is still plain PyTorch.

Three peers differ only in who calls this. Choices: tensors in memory and batches by index (no
DataLoader, which costs more than the network); channels-last; bfloat16 autocast where the processor
has it; PyTorch's own initial weights.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import contract
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract import Configuration

HAS_BFLOAT16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))


class Network(nn.Module):  # type: ignore[misc]  # not installed where this is checked
    """The sheet's network, up to the logits."""

    def __init__(self, filters: int, size: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, filters, size, padding="same")
        self.second = nn.Conv2d(filters, filters, size, padding="same")
        self.hidden = nn.Linear(7 * 7 * filters, 128)
        self.logits = nn.Linear(128, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 10)` of images `(n, 1, 28, 28)`."""
        flow = functional.max_pool2d(functional.relu(self.first(images)), 2)
        flow = functional.max_pool2d(functional.relu(self.second(flow)), 2)
        flow = functional.relu(self.hidden(flow.flatten(1)))
        return self.logits(flow)


def autocast() -> Any:
    """Compute in bfloat16 where that is faster."""
    return torch.autocast("cpu", torch.bfloat16, enabled=HAS_BFLOAT16)


@functools.cache
def load(path: str) -> list[torch.Tensor]:
    """Images `(n, 1, 28, 28)` and labels `(n,)`, those to train and those to validate.

    A process loads them once.
    """
    x_train, y_train, x_valid, y_valid = map(torch.from_numpy, contract.load(path))
    return [x_train.movedim(3, 1), y_train.long(), x_valid.movedim(3, 1), y_valid.long()]


def train(
    configuration: Configuration, epochs: int, seed: int, data: list[torch.Tensor]
) -> Iterator[float]:
    """Train one configuration; yields the validation error after each epoch."""
    torch.manual_seed(seed)
    x_train, y_train, x_valid, y_valid = data
    network = Network(configuration["num_filters"], configuration["filter_size"])
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), configuration["learning_rate"])
    for _ in range(epochs):
        for batch in torch.randperm(len(x_train)).split(configuration["batch_size"]):
            with autocast():
                loss = functional.cross_entropy(network(x_train[batch]), y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode(), autocast():
            predicted = [network(images).argmax(1) for images in x_valid.split(500)]
        yield (torch.cat(predicted) != y_valid).sum().item() / len(y_valid)
