"""The log of a run: `metrics.jsonl`, TensorBoard events, report.html, and a progress bar on a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import Progress

from asr.errors import TrainError
from asr.train.report import read_metrics, write_report
from asr.util.files import replace_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes each record to metrics.jsonl and its numbers to TensorBoard, and draws a bar on a terminal.

    Without a folder nothing is written or drawn: if several processes train a model, only the first has one.
    """

    def __init__(self, folder: Path | None, total_epochs: int = 0) -> None:
        self.folder, self.total_epochs = folder, total_epochs
        self._file: TextIO | None = None
        self._events: SummaryWriter | None = None
        self._bar: Progress | None = None
        self._began = time.monotonic()
        self._first: float | None = None

    @contextmanager
    def opened(self, step: int) -> Iterator[None]:
        """Open the files. Records after `step` belong to work that a killed run lost: they are cut off."""
        if self.folder is None:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "metrics.jsonl"
        kept = [record for record in read_metrics(path) if record["step"] <= step]
        replace_file(path, "".join(_line(record) for record in kept))
        self._events = tensorboard_writer(self.folder / "tensorboard", step)
        hidden = not sys.stderr.isatty()
        columns = Progress.get_default_columns()
        self._bar = Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True)
        self._task = self._bar.add_task("training", total=self.total_epochs)
        self._file = path.open("a", encoding="utf-8")
        try:
            with self._bar:
                yield
        finally:
            for each in (self._file, self._events):
                with suppress(OSError):  # a full disk: `write` has reported it
                    if each is not None:
                        each.close()

    def progress(self, epochs: float) -> None:
        """Tell the bar how many epochs are done, in fractions."""
        if self._first is None:
            self._first = epochs
        if self._bar is not None:
            self._bar.update(self._task, completed=epochs)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Log a record; one of kind "epoch" also updates report.html. Raises TrainError when the disk is full."""
        if self.folder is None or self._file is None:
            return
        record = {"kind": kind, "step": step, **{k: _rounded(v) for k, v in values.items()}}
        try:
            self._file.write(_line(record))
            self._file.flush()
            for name, value in values.items():
                if self._events is not None and isinstance(value, (int, float)) and name != "epoch":
                    self._events.add_scalar(f"{kind}/{name}", value, step)
            if kind == "epoch":
                write_report(self.folder)
        except OSError as error:
            raise TrainError(
                f"{self.folder / 'metrics.jsonl'}: could not be written: {error.strerror}; fix it and rerun to resume"
            ) from None

    def left(self, epochs: float, total: int) -> str:
        """The estimated time left, at the pace since this start: "3 min 20 s"; "?" at first."""
        done = epochs - (self._first or 0.0)
        return duration_text((time.monotonic() - self._began) / done * (total - epochs)) if done > 0 else "?"


def tensorboard_writer(folder: Path, step: int) -> SummaryWriter | None:
    """Writes events, in place of those after `step`; None where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        return None
    # Here: it takes most of a second to load, and only training needs it.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


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
