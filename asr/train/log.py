"""What a run says: `metrics.jsonl`, TensorBoard events, and a line or a bar for the person watching."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from asr.errors import TrainError
from asr.train.report import read_metrics, write_report
from asr.util.files import write_atomic

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes each record to metrics.jsonl and its numbers to TensorBoard. Context manager.

    Records past `step` belong to work that was lost with a killed run: they are cut off.
    """

    def __init__(self, folder: Path, step: int, total_epochs: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        self._cut(step)
        self._file = self.path.open("a", encoding="utf-8")
        self._events = tensorboard_writer(folder / "tensorboard", step)
        self._console = Console(stderr=True)
        self._bar = Progress(
            *Progress.get_default_columns(),
            console=self._console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task("training", total=total_epochs)
        self._began = time.monotonic()
        self._first: float | None = None

    def __enter__(self) -> RunLog:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        with suppress(OSError):  # of a full disk: `write` has said so
            self._file.close()
        with suppress(OSError):
            if self._events is not None:
                self._events.close()

    def progress(self, epochs: float) -> None:
        """Tell the bar how many epochs are done, in fractions."""
        if self._first is None:
            self._first = epochs
        self._bar.update(self._task, completed=epochs)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """An epoch's record also brings report.html up to date. Raises TrainError when the disk is full."""
        record = {"kind": kind, "step": step, **{k: _rounded(v) for k, v in values.items()}}
        try:
            self._file.write(_line(record))
            self._file.flush()
            for name, value in values.items() if self._events is not None else ():
                if isinstance(value, (int, float)) and name != "epoch":
                    self._events.add_scalar(f"{kind}/{name}", value, step)
            if kind == "epoch":
                write_report(self.path.parent)
        except OSError as error:
            raise TrainError(
                f"{self.path}: could not be written: {error.strerror}; mend that, and the same command goes on"
            ) from None

    def say(self, line: str) -> None:
        """A line on stderr, above the bar where there is one."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def left(self, epochs: float, total: int) -> str:
        """Estimated time to the end from this start's own pace: "3 min 20 s"."""
        done = epochs - (self._first or 0.0)
        return duration_text((time.monotonic() - self._began) / done * (total - epochs)) if done > 0 else "?"

    def _cut(self, step: int) -> None:
        kept = [record for record in read_metrics(self.path) if record["step"] <= step]
        write_atomic(self.path, "".join(_line(record) for record in kept))


def tensorboard_writer(folder: Path, step: int) -> SummaryWriter | None:
    """Writes events, in place of those after `step`; None where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        return None
    # Imported here: it takes most of a second, and only training logs.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


class NoLog:
    """What a process writes that trains beside the one with the log: nothing."""

    def __enter__(self) -> NoLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, method: str) -> Callable[..., str]:
        return lambda *_, **__: ""


def duration_text(seconds: float) -> str:
    """75 -> "1 min 15 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
