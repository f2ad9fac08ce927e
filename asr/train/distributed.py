"""Several processes that train one model together: `torchrun --nproc-per-node=N -m asr train …`.

Each takes its share of every batch, and the gradients are added before the step, so that all hold the same weights.
What a batch is does not depend on the number of processes: `train.batch_seconds` is of all of them together.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

# Before any process group exists: an optimizer would import it later, and its default arguments would keep the group
# that exists then. A group that outlives its destruction has threads that free tensors after Python's end: an abort.
import torch.distributed.nn.functional

from asr.config import Config
from asr.model.recognizer import Recognizer
from asr.util.runtime import resolve_device

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among `count`. Every method must be called by all of them, in the same order."""

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, writes files and logs."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """The slice of each batch's utterances that this process takes; it may be empty."""
        return slice(self.rank, None, self.count)

    def total(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the processes."""
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def any(self, *values: bool) -> list[bool]:
        """Whether each holds in any process."""
        return [value > 0 for value in self.total([float(value) for value in values])]

    def add_gradients(self, recognizer: Recognizer) -> None:
        """Set every gradient to its sum over the processes, sent as one message."""
        if self.count == 1:
            return
        trained = [p for p in recognizer.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, piece in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
            parameter.grad = piece.view_as(parameter)

    def from_first(self, value: Value) -> Value:
        """The first process's value, in every process."""
        if self.count == 1:
            return value
        box = [value if self.first else None]
        dist.broadcast_object_list(box, device=torch.device(self.device))
        return box[0]  # type: ignore[return-value]

    def gather(self, values: Sequence[Value]) -> list[Value]:
        """The values of all processes, one after the other."""
        if self.count == 1:
            return list(values)
        boxes: list[Any] = [None] * self.count
        dist.all_gather_object(boxes, list(values))
        return [value for box in boxes for value in box]

    def seed_apart(self, seed: int, step: int) -> None:
        """Seed dropout differently in each process. A single process keeps the state that its checkpoint restored."""
        if self.count > 1:
            torch.manual_seed(int(np.random.SeedSequence((seed, step, self.rank)).generate_state(1)[0]))


ALONE = Processes()


@contextmanager
def joined_processes(config: Config) -> Iterator[tuple[Processes, Config]]:
    """This process among those that torchrun started, and the config with this process's device.

    Without torchrun it is alone.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), config
        return
    device = resolve_device(config.device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        config = config.model_copy(update={"device": str(device)})
    # A long timeout: the others wait while the first validates.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=24))
    try:
        processes = Processes(dist.get_rank(), count, str(device))
        if not processes.first:
            logging.getLogger("asr").setLevel(logging.ERROR)
        yield processes, config
    finally:
        dist.destroy_process_group()
