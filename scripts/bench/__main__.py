"""What this machine makes of the work, next to other toolkits.

python scripts/bench data       how far the data part scales, and how fast it feeds a training
python scripts/bench train      a whole training pipeline next to its bare steps
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.console import commands, examples, say

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # `bench` is a package of the folder that this one is in

app = commands(help="Measurements on this machine, next to other toolkits.", no_args_is_help=True)


@app.command(
    epilog=examples(
        "python scripts/bench data",
        "python scripts/bench data --lines 0 --manifest data/samples/samples.jsonl --output bench.json",
        "python scripts/bench data --lines 100000 --repeat 0",
    )
)
def data(
    lines: Annotated[int, typer.Option(min=0, help="Lines of the made-up manifest; 0: no measurement of scale.")] = 10
    ** 6,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(help="Recordings to decode, of one sample rate; default: made-up flac and opus."),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Threads that decode, beside a run with none.")] = 2,
    repeat: Annotated[int, typer.Option(min=0, help="Times that each reader decodes all; 0: no decoding.")] = 5,
    output: Annotated[Path | None, typer.Option(help="Also write all figures here (JSON).")] = None,
) -> None:
    """Seconds and memory from a manifest's lines to the first batch, and decoding next to other readers."""
    from bench import data as measurement
    from bench.record import write_record

    record = measurement.bench(lines, manifest or [], workers, repeat, say)
    measurement.print_tables(record)
    if output is not None:
        write_record(output, record)
    if any(row["status"] for row in record["scale"]):
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "python scripts/bench train --device cpu --output bench.json",
        "python scripts/bench train --cells lstm --minutes 2 --repeat 3",
    )
)
def train(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    cells: Annotated[str, typer.Option(help="Of rnn, lstm and gru, those to measure, with commas between.")] = (
        "rnn,lstm,gru"
    ),
    minutes: Annotated[float | None, typer.Option(min=0.05, help="Of audio; default: 6 on a CPU, 90 on a GPU.")] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Threads that decode files; 0: the training decodes.")
    ] = 1,
    repeat: Annotated[int, typer.Option(min=1, help="Times that each way is measured.")] = 5,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="Of the CPU, for every way; 0: one for each core.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Also write all figures here (JSON).")] = None,
) -> None:
    """Audio a second in training: all of the pipeline, its bare steps, those with packed sequences and with CTC-CRF."""
    from bench import train as measurement
    from bench.record import write_record

    chosen = [cell.strip() for cell in cells.split(",")]
    if unknown := sorted(set(chosen) - set(measurement.CELLS)):
        raise typer.BadParameter(f"'{unknown[0]}' is none of {', '.join(measurement.CELLS)}", param_hint="--cells")
    setup = measurement.Setup(device, chosen, minutes, workers, repeat, threads)
    record = measurement.bench(setup, say)
    measurement.print_tables(record)
    if output is not None:
        write_record(output, record)


if __name__ == "__main__":
    app()
