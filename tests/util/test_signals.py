"""Signals: where their handlers run, how a process ends at the first and at the second, and what others installed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr.util.signals import AGAIN_S, StopSignals, handling

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")

INSPECT = """
import ctypes, os, signal, sys, threading
import torch
torch.set_num_threads(3)
if sys.argv[1] == "no-stderr":
    sys.stderr = None
    os.close(2)
from asr.config import FeatureConfig, ModelConfig, TextConfig
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer
before = set(os.listdir("/proc/self/task"))
def make():
    small = ModelConfig(layers=1, hidden_size=8)
    Recognizer(FeatureConfig(), TextConfig(), small, Tokenizer("words", ("<blank>", "a")))
if sys.argv[1] == "thread":
    thread = threading.Thread(target=make); thread.start(); thread.join()
    before.add(str(thread.native_id))  # it may take a moment to vanish
make()
class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
stack = Stack()
ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
started = set(os.listdir("/proc/self/task")) - before
blocked = [int(open(f"/proc/self/task/{task}/status").read().split("SigBlk:")[1].split()[0], 16) for task in started]
free = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPROF) for bits in blocked if not bits >> (n - 1) & 1]
print(stack.size > 4096, len(started) >= 2, free, signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


@pytest.mark.parametrize("case", ["plain", "no-stderr", "thread"])
def test_main_has_a_stack_for_handlers_and_the_threads_that_compute_get_no_signals(case):
    done = subprocess.run([sys.executable, "-c", INSPECT, case], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "True True [] set()", done.stderr


HANGING = """
import sys, soundfile
from asr.util.runtime import map_ahead
from asr.util.signals import handling, interrupt, take_over
take_over()
def read(path):
    print("reading\\n", end="", flush=True)  # in one piece: other threads print too
    soundfile.read(path)
with handling(interrupt):
    if sys.argv[2] == "here":
        read(sys.argv[1])
    else:
        list(map_ahead(read, [sys.argv[1]] * 3, 2, 2))
"""


@pytest.mark.parametrize("where", ["here", "in a thread"])
def test_a_second_ctrl_c_ends_a_read_that_never_ends(tmp_path, where):
    pipe = tmp_path / "hangs.wav"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", HANGING, str(pipe), where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pipe.open("wb") as writer:  # when the other side is opened as well
        writer.write(b"RIFF")
        writer.flush()
        assert process.stdout.readline() == "reading\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        if where == "here":  # a pair, as `timeout` sends it, is one
            process.send_signal(signal.SIGINT)
        time.sleep(AGAIN_S + 0.2)
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted")


def test_the_first_asks_to_stop_and_a_later_sigint_stops():
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        assert not stop.asked
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # too soon to be meant as another
        assert stop.asked
        time.sleep(AGAIN_S + 0.05)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_handlers_of_others_come_back(number):
    seen = []
    before = signal.signal(number, lambda *_: seen.append("theirs"))
    try:
        with handling(lambda *_: seen.append("ours")):
            signal.raise_signal(number)
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert seen == ["ours", "theirs"]
