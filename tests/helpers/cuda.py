"""A CUDA device for machines without one: tensors on it have shape, type and device, but no values.

They are torch's fake tensors; tensors on the CPU stay real. An operation that mixes both raises, as on a GPU, so what
was left on the CPU by mistake is found. Backward passes and autocast want a driver: only forward passes run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from asr.model import recurrent

aten = torch.ops.aten


class FakeCuda(FakeTensorMode):
    """What is done on the CPU is done; on CUDA nothing is, and what is copied from there is full of ones."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = False  # of an operation, whose parts may have fake tensors on the CPU

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return super().__torch_dispatch__(func, types, args, kwargs)
        if not any(map(on_cuda, tree_leaves((args, kwargs)))):
            return func(*args, **kwargs)
        if func in STAND_INS:
            return STAND_INS[func](*args, **kwargs)
        self.inside = True
        try:
            args, kwargs = tree_map_only(Tensor, self._faked, (args, kwargs))
            result = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self.inside = False
        return tree_map_only(FakeTensor, self._arrived, result)

    def _faked(self, x: Tensor) -> FakeTensor:
        return x if isinstance(x, FakeTensor) else self.from_tensor(x)

    def _arrived(self, x: FakeTensor) -> Tensor:
        return x if x.device.type == "cuda" else torch.ones(x.shape, dtype=x.dtype)


def on_cuda(leaf: Any) -> bool:
    return isinstance(leaf, FakeTensor) or (isinstance(leaf, torch.device) and leaf.type == "cuda")


def require(x: Tensor, device: str, dtype: torch.dtype, *shape: int) -> None:
    """What cuDNN demands of an input, which it does not always check."""
    assert isinstance(x, FakeTensor) == (device == "cuda"), f"{tuple(x.shape)} is on {x.device}"
    assert (x.device.type, x.dtype, *x.shape) == (device, dtype, *shape)


def one(x: Tensor) -> Any:
    return torch.ones((), dtype=x.dtype).item()


def ctc_forward(log_probs: Tensor, targets: Tensor, *lengths: Any) -> tuple[Tensor, Tensor]:
    frames, batch, _ = log_probs.shape
    require(log_probs, "cuda", torch.float32, *log_probs.shape)
    for x in (targets, *lengths[:2]):
        require(x, "cuda", torch.int64, *x.shape)
    return log_probs.new_empty(batch), log_probs.new_empty(batch, frames, 2 * targets.shape[-1] + 1)


def pack(x: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    """As if no utterance were padded."""
    batch, frames, inputs = x.shape
    require(lengths, "cpu", torch.int64, batch)
    assert x.is_cuda
    assert batch_first
    return x.new_empty(batch * frames, inputs), torch.full((frames,), batch)


def unpack(data: Tensor, batch_sizes: Tensor, batch_first: bool, padding: float, frames: int) -> tuple[Tensor, Tensor]:
    require(batch_sizes, "cpu", torch.int64, len(batch_sizes))
    assert data.is_cuda
    batch = int(batch_sizes[0])
    return data.new_empty(batch, frames, data.shape[1]), torch.full((batch,), frames)


# What has no shapes without values, or asks the driver. aten's signatures.
STAND_INS = {
    aten._local_scalar_dense.default: one,
    aten.item.default: one,
    aten._use_cudnn_ctc_loss.Tensor: lambda *_: False,
    aten._use_miopen_ctc_loss.Tensor: lambda *_: False,
    aten._ctc_loss.Tensor: ctc_forward,
    aten._pack_padded_sequence.default: pack,
    aten._pad_packed_sequence.default: unpack,
}


def rnn_kernel(cell: str) -> Any:
    """In place of torch._VF.rnn_tanh, lstm or gru, of one layer: padded or packed input."""
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]

    def run(x: Tensor, *given: Any) -> tuple[Tensor, ...]:
        packed = isinstance(given[0], Tensor) and not given[0].is_floating_point()
        if packed:
            require(given[0], "cpu", torch.int64, len(given[0]))
            batch, given = int(given[0][0]), given[1:]
        else:
            batch = len(x)
            assert given[-1], "batch_first"
        states, weights, biases, layers, _dropout, _train, bidirectional = given[:7]
        assert (biases, layers, len(weights)) == (True, 1, 8 if bidirectional else 4)
        size = weights[1].shape[1]
        for state in states if cell == "lstm" else [states]:
            require(state, "cuda", x.dtype, 2 if bidirectional else 1, batch, size)
        for start in range(0, len(weights), 4):
            for weight, shape in zip(weights[start:], [(x.shape[-1],), (size,), (), ()], strict=False):
                require(weight, "cuda", x.dtype, gates * size, *shape)
        require(x, "cuda", x.dtype, *x.shape)
        return (x.new_empty(*x.shape[:-1], size * (2 if bidirectional else 1)),)

    return run


@contextmanager
def fake_cuda() -> Iterator[None]:
    """A block in which device="cuda" works."""
    with pytest.MonkeyPatch.context() as patch, FakeCuda():
        patch.setattr(nn.RNNBase, "flatten_parameters", lambda self: None)  # copies weights, by the driver
        for cell in recurrent.KERNELS:
            patch.setitem(recurrent.KERNELS, cell, rnn_kernel(cell))
        yield
