"""What a program runs on: devices, their precision, threads."""

from __future__ import annotations

import gc
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from asr.errors import ConfigError

if TYPE_CHECKING:
    import torch  # loaded where it is used: threads do without

Item = TypeVar("Item")
Result = TypeVar("Result")


def check_device(name: str) -> str:
    """The name, if it can be a device's: known before torch is loaded. Raises ConfigError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device {name!r}: use auto, cpu, cuda or cuda:N")
    return name


def resolve_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU. Raises ConfigError for a device this machine lacks."""
    check_device(name)
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device {name!r}: this machine has no usable CUDA device; use cpu or auto")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ConfigError(f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices, numbered from 0")
    return device


def set_precision(precision: str) -> None:
    """fp32, tf32 or bf16 (auto: tf32) for convolutions and recurrent layers on CUDA.

    Everything else (features, head, log-softmax, CTC) stays in full float32: its share of the time is small,
    and that is where rounding shows. bf16 casts only the recurrent layers, see RecurrentLayer.
    """
    import torch

    inner = "ieee" if precision == "fp32" else "tf32"
    torch.backends.cudnn.conv.fp32_precision = inner  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = inner  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """While many objects are made, none of them garbage: the collector would look at all of them, time and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int) -> Iterator[Result]:
    """function(item) for every item, in order. So many results at most are computed before they are asked for.

    Whoever stops asking does not wait for what is still computed: it may be a read that never ends.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="data")
    try:
        coming: deque[Future[Result]] = deque()
        for item in items:
            coming.append(pool.submit(function, item))
            if len(coming) > ahead:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
