"""How a program is stopped: SIGINT and SIGTERM, and how their handlers stay off the stacks of what computes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 0.5  # a SIGINT so soon after the first is the same: `timeout` sends each to the process and to its group
FAULTS = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP"}  # of the thread itself

_shielded: dict[int, int] = {}  # thread -> the computing threads it started


def shield_from_signals() -> None:
    """Keep signal handlers off the stacks of the threads that compute. Called before a model computes.

    oneDNN's kernels for matrices on the CPU use the stack register for something else, and a handler that starts
    meanwhile writes its frame into the heap. Python's handlers run on a thread's alternate stack where it has one
    (SA_ONSTACK, since Python 3.10): the main thread gets one, which is what faulthandler makes and leaves. The kernel
    chooses another thread when two signals come at once or a timer counts processor time: torch's threads are started
    with all signals blocked.
    """
    import faulthandler
    import threading

    import torch

    thread, count = threading.current_thread(), torch.get_num_threads()
    if os.name == "nt" or _shielded.get(threading.get_ident(), 0) >= count:
        return
    if thread is threading.main_thread() and not faulthandler.is_enabled():
        with open(os.devnull, "wb") as nowhere:
            faulthandler.enable(nowhere)  # type: ignore[arg-type]  # any file with a number will do
            faulthandler.disable()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {s for s in signal.valid_signals() if _name(s) not in FAULTS})
    try:
        torch.zeros(2**16 * count).exp_()  # enough for all threads
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _shielded[threading.get_ident()] = count


def _name(number: int) -> str:
    return getattr(number, "name", "")  # real-time signals have none


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGINT and SIGTERM go to `handler` while the block runs. Outside the main thread nothing changes: whoever runs
    us there handles signals."""
    before: dict[int, Any] = {}
    try:
        for number in STOPPING:
            before[number] = signal.signal(number, handler)
    except ValueError:
        pass
    try:
        yield
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a request (`asked`) to save and stop; a later SIGINT stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._asked_at = 0.0
        self._handling = handling(self._ask)

    def __enter__(self) -> StopSignals:
        self._handling.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._handling.__exit__(*error)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT and monotonic() > self._asked_at + AGAIN_S:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._asked_at = True, monotonic()


def end_at_once(number: int, frame: FrameType | None = None) -> None:
    """End the process, whatever its threads wait for, with the status of a program that was ended by the signal."""
    cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a progress bar hides it
    try:
        os.write(2, cursor + described(number).encode() + b"\n")
    finally:
        os._exit(128 + number)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt(number), once; but while a library is loaded, which may make another error of that, or
    none, end the process."""
    above = frame
    while above is not None:
        if above.f_code.co_filename == "<frozen importlib._bootstrap>":
            end_at_once(number)
        above = above.f_back
    for each in STOPPING:  # nothing disturbs what is tidied up; a second SIGINT is seen by `_watch`
        signal.signal(each, lambda *_: None)
    raise KeyboardInterrupt(number)


def described(number: int) -> str:
    return "terminated" if number == signal.SIGTERM else "interrupted"


def take_over() -> None:
    """For a program of its own: the process ends at the first signal until a command handles them, and at the second
    SIGINT even where Python code no longer runs, such as a read from a disk that does not answer."""
    for number in STOPPING:
        signal.signal(number, end_at_once)
    if sys.platform == "win32":
        return
    from threading import Thread

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    Thread(target=_watch, args=(reader,), daemon=True, name="signals").start()


def _watch(reader: int) -> None:
    """Python writes each signal's number into the pipe as it comes, in whatever thread it does."""
    first = None
    while True:
        for number in os.read(reader, 64):
            if number == signal.SIGINT:
                first = first or monotonic()
                if monotonic() > first + AGAIN_S:
                    end_at_once(number)
