"""`train.batch_seconds: auto`: as much audio in a batch as memory holds, by one trial on the longest utterance."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from asr.data.batches import Batch
from asr.errors import TrainError
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer

SHARE = 0.4  # of the free memory, for activations kept for the backward pass; the passes need as much again
MIN_STEPS = 200  # an epoch: larger batches teach a small corpus too little
FEW = 4  # utterances of average length that a batch holds at least: with fewer, a step is mostly noise
MAX_BATCH_S = 1200.0  # of one process: no device gains speed beyond it


def find_batch_seconds(
    recognizer: Recognizer,
    loss: Callable[[Batch, int, int], Loss],
    durations: Tensor,
    free: Callable[[torch.device], int] | None = None,
    processes: int = 1,
) -> float:
    """Seconds of audio in a batch that are safe on the recognizer's device. durations: of all utterances of an epoch.

    free: returns the free bytes of a device. processes: how many share a batch, each on its own GPU or all on the CPU.
    Raises TrainError when not even the longest utterance fits.
    """
    longest, total = float(durations.max()), float(durations.sum())
    kept = kept_for_backward(recognizer, loss, longest)
    room = SHARE * (free or free_memory)(recognizer.device) / (processes if recognizer.device.type == "cpu" else 1)
    safe = room / kept * longest
    if safe < longest:
        raise TrainError(
            f"train.batch_seconds = auto: the longest utterance ({longest:.1f} s) needs {kept / SHARE / 2**30:.1f} GB,"
            f" {room / SHARE / 2**30:.1f} GB are free; leave it out, or make the model smaller"
        )
    small = max(total / MIN_STEPS, min(total, FEW * total / len(durations)))
    return float(int(max(longest + 1, min(processes * min(safe, MAX_BATCH_S), small))))


def kept_for_backward(recognizer: Recognizer, loss: Callable[[Batch, int, int], Loss], seconds: float) -> int:
    """Bytes of activations that a forward pass over one utterance keeps for the backward pass, without parameters."""
    samples = round(seconds * recognizer.sample_rate)
    tokens = torch.ones(1, max(1, round(seconds * 10)), dtype=torch.long)  # ten letters a second
    waveform = torch.randn(1, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    trial = Batch([0], waveform, torch.tensor([samples]), tokens, torch.tensor([tokens.shape[1]]))
    own = {parameter.untyped_storage().data_ptr() for parameter in recognizer.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    was_training = recognizer.training
    recognizer.train()
    devices = [recognizer.device] if recognizer.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # A late epoch, whose loss may keep more. Kept alive, so that no address is reused and missed.
        held = loss(trial.to(recognizer.device), 10**6, 0)
    del held
    recognizer.train(was_training)
    return sum(kept.values())


def free_memory(device: torch.device) -> int:
    """Bytes that a training may still allocate on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = _number(Path("/proc/meminfo"), "MemAvailable:")  # free, or a file cache that Linux would give up
    free = 1024 * available if available is not None else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(free, left_in_cgroup(Path("/sys/fs/cgroup")))


# In cgroup v2 and v1: the file of the limit, and file and key of what processes use. File caches would be given up.
CGROUP_FILES = (
    ("memory.max", "memory.stat", "anon"),
    ("memory/memory.limit_in_bytes", "memory/memory.stat", "total_rss"),
)


def left_in_cgroup(root: Path) -> int:
    """Bytes left to a container, whose memory a cgroup limits; sys.maxsize without a limit."""
    for limit, use, own in CGROUP_FILES:
        bound, used = _number(root / limit), _number(root / use, own)
        if bound is not None and used is not None:
            return max(bound - used, 0)
    return sys.maxsize


def _number(path: Path, name: str = "") -> int | None:
    """The number after a name, in a file of such lines, or a file's only number; None where there is none."""
    try:
        words = path.read_text(encoding="ascii").split()
        return int(words[words.index(name) + 1 if name else 0])
    except (OSError, ValueError, IndexError):
        return None
