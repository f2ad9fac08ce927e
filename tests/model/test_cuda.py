"""All that runs on a GPU finds its tensors there. This needs no GPU: see helpers.cuda. Shapes are those of the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.cuda import fake_cuda
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asr.config import FeatureConfig, ModelConfig, TextConfig, TrainConfig, parse_config
from asr.data.batches import collate
from asr.decode.decoder import decode_waveforms, greedy, log_prob_rows, with_confidence
from asr.features import FeatureExtractor
from asr.model.crf import _LogPartition
from asr.model.recognizer import Recognizer
from asr.model.recurrent import KERNELS, MODULES
from asr.text import Tokenizer
from asr.train.optimizer import make_optimizer
from asr.train.run import TrainingLoss

CELLS = list(MODULES)
WAVEFORMS = [np.sin(0.1 * np.arange(n)).astype(np.float32) for n in (9000, 4000, 100)]
BATCH = collate([(0, WAVEFORMS[0], [2, 3, 2]), (1, WAVEFORMS[1], [2]), (2, WAVEFORMS[2], [])])
CHANGES = {"vtlp": [0.9, 1.1], "random_eq_db": 4, "time_mask": {"count": 2}, "frequency_mask": {"count": 2}}


def recognizer(cell="lstm", bidirectional=True, **model):
    features = FeatureConfig(sample_rate=8000, n_mels=20, normalize="utterance" if bidirectional else "global")
    model = ModelConfig(cell=cell, bidirectional=bidirectional, layers=2, hidden_size=8, **model)
    return Recognizer(features, TextConfig(), model, Tokenizer("characters", ("<blank>", " ", "a", "b")))


@pytest.mark.parametrize("normalize", ["utterance", "global", "none"])
@pytest.mark.parametrize("kind", ["logmel", "mfcc"])
def test_features(kind, normalize):
    extractor = FeatureExtractor(FeatureConfig(sample_rate=8000, kind=kind, normalize=normalize, top_db=80.0))
    changes = torch.ones(3), torch.zeros(3, 80)  # warps and responses, which are drawn on the CPU
    expected = [extractor(BATCH.waveforms, BATCH.waveform_lengths, *given)[0].shape for given in ((), changes)]
    with fake_cuda():
        there = BATCH.to(torch.device("cuda"))
        extractor.to("cuda")
        for shape, given in zip(expected, ((), changes), strict=True):
            features, lengths = extractor(there.waveforms, there.waveform_lengths, *given)
            assert features.is_cuda
            assert lengths.is_cuda
            assert (features.shape, features.dtype) == (shape, torch.float32)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_from_waveforms_to_log_probabilities(cell, bidirectional, precision):
    """The stand-ins of cuDNN's kernels check what they are given: bf16 for all of it, or float32."""
    model = recognizer(cell, bidirectional)
    expected, _ = model(BATCH.waveforms, BATCH.waveform_lengths)
    model.set_precision(precision)
    with fake_cuda():
        there = BATCH.to(model.to("cuda").device)
        log_probs, lengths = model(there.waveforms, there.waveform_lengths)
        assert log_probs.is_cuda
        assert lengths.is_cuda
        assert (log_probs.shape, log_probs.dtype) == (expected.shape, torch.float32)


@pytest.mark.parametrize("model", [{"subsampling": 1}, {"subsampling": 2, "layer_norm": False}, {"residual": False}])
def test_other_encoders(model):
    model = recognizer("gru", **model)
    with fake_cuda():
        there = BATCH.to(model.to("cuda").device)
        assert model(there.waveforms, there.waveform_lengths)[0].is_cuda


@pytest.mark.parametrize("order", [None, 2, 3])
def test_loss_of_augmented_batches(order):
    """Of CTC for None, otherwise of CTC-CRF with an n-gram of that order."""
    config = parse_config({"augment": CHANGES, "train": {"ctc_epochs": 0}}, "test")
    model = recognizer()
    model.token_ngrams = None if order is None else torch.rand([4] * order)
    with fake_cuda():
        model.to("cuda")
        loss = TrainingLoss(model, config)(BATCH.to(model.device), 0, 0)
        assert loss.utterances == 3
        for value in (loss.total, loss.infeasible, loss.blank_fraction, loss.symbols_per_frame):
            assert value.is_cuda
            assert value.shape == ()


@pytest.mark.parametrize("order", [2, 3])
def test_gradient_of_the_partition_function(order):
    """Called by hand, as autograd wants a driver."""
    context = SimpleNamespace()
    context.save_for_backward = lambda *tensors: setattr(context, "saved_tensors", tensors)
    with fake_cuda():
        log_probs = torch.zeros(3, 7, 5, device="cuda")
        partition = _LogPartition.forward(context, log_probs, torch.ones([5] * order, device="cuda"))
        assert partition.is_cuda
        gradient, nothing = _LogPartition.backward(context, torch.ones_like(partition))
        assert gradient.is_cuda
        assert gradient.shape == log_probs.shape
        assert nothing is None


def test_a_step_of_the_optimizer_and_of_the_average():
    model = recognizer()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    with fake_cuda():
        model.to("cuda")
        optimizer = make_optimizer(model, TrainConfig())
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        assert clip_grad_norm_(model.parameters(), 5.0).is_cuda
        optimizer.step()
        assert all(state["exp_avg"].is_cuda for state in optimizer.state.values())
        averaged.module.to("cuda")
        for _ in range(2):
            averaged.update_parameters(model)
        assert all(tensor.is_cuda for tensor in averaged.module.state_dict().values())


def test_decoding():
    """What comes from the device are ones: the space in every frame."""
    model = recognizer().eval()
    expected = [row.shape[1:] for row in decode_waveforms(model, WAVEFORMS, log_prob_rows)]
    with fake_cuda():
        model.to("cuda")
        for decode in (greedy, with_confidence(greedy, model)):
            found = decode_waveforms(model, WAVEFORMS, decode)
            assert [hypothesis.token_ids for hypothesis in found] == [[1], [1], [1]]
        assert [row.shape[1:] for row in decode_waveforms(model, WAVEFORMS, log_prob_rows)] == expected


def forget_a_mask(model, x, lengths):
    return torch.where(torch.ones(3, 113, 1, dtype=torch.bool), model.features(x, lengths)[0], 0.0)


def forget_waveforms(model, x, lengths):
    return model.features(x.cpu(), lengths)


def forget_a_state(model, x, lengths):
    layer, state = model.encoder.layers[0].rnn, torch.zeros(1, 3, 8)
    frames = torch.zeros(3, 9, 16, device="cuda")
    return KERNELS["lstm"](frames, (state, state), layer._flat_weights[:4], True, 1, 0.0, False, False, True)


def forget_a_buffer(model, x, lengths):
    window = model.features._buffers.pop("window")
    model.features.window = window.cpu()  # an attribute that `to` does not know of
    return model.features(x, lengths)


@pytest.mark.parametrize(
    ("forget", "says"),
    [
        (forget_a_mask, "two different devices"),
        (forget_waveforms, "two different devices"),
        (forget_a_state, "is on cpu"),
        (forget_a_buffer, "must be on the same device"),
    ],
)
def test_what_is_left_on_the_cpu_is_found(forget, says):
    model = recognizer()
    with fake_cuda():
        there = BATCH.to(model.to("cuda").device)
        with pytest.raises((RuntimeError, AssertionError), match=says):
            forget(model, there.waveforms, there.waveform_lengths)
