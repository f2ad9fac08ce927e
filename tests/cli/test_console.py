"""What the library logs comes as plain lines on stderr; every result gets a file of its own."""

import logging
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from asr.cli.console import commands, set_up_logging, write_results
from asr.errors import AudioError


def test_log_messages_are_plain_lines_on_the_stderr_of_the_moment(capsys):
    app = commands()

    @app.command()
    def work():
        logging.getLogger("asr.corpus.somewhere").info("reading")
        logging.getLogger("asr.corpus.somewhere").warning("an odd line")
        logging.getLogger("asr.corpus.somewhere").debug("details")
        typer.echo("result")

    for _ in range(2):
        set_up_logging()
        done = CliRunner().invoke(app)
        assert (done.stdout, done.stderr) == ("result\n", "reading\nwarning: an odd line\n")
    logging.getLogger("asr").info("afterwards")
    assert capsys.readouterr().err == "afterwards\n"


@pytest.mark.parametrize(
    ("outputs", "files"),
    [
        (["a", "a", "a.2"], ["a", "a.2", "a.2.2"]),
        (["a.2", "a", "a", "a"], ["a.2", "a", "a.3", "a.4"]),
        (["a.2", "a.2", "a", "a", "a.2.2"], ["a.2", "a.2.2", "a", "a.3", "a.2.2.2"]),
        (["x/a", "y/a", "x/a"], ["x/a", "y/a", "x/a.2"]),
        (["Call", "call", "caf\u00e9", "cafe\u0301"], ["Call", "call.2", "caf\u00e9", "cafe\u0301.2"]),
        (["n" * 246, "n" * 247, "n" * 248], ["n" * 235, "n" * 235 + ".2", "n" * 235 + ".3"]),
        (["語" * 200], ["語" * 78]),
    ],
)
def test_no_result_overwrites_another(tmp_path, outputs, files):
    write_results([(Path(name), {".json": str(i)}) for i, name in enumerate(outputs)], len(outputs), tmp_path)
    made = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.json")}
    assert made == {f"{name}.json": f"{i}\n" for i, name in enumerate(files)}


def test_a_result_that_cannot_be_written_is_one_failure_and_the_rest_is_written(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file where a folder is needed")
    results = [
        *[(Path("taken/a"), {".txt": "1"}), AudioError("b.wav: no audio")],
        *[(Path("c"), {".txt": "name \udcff"}), (Path("d"), {".txt": "4", ".json": "{}"})],
    ]
    with pytest.raises(typer.Exit) as caught:
        write_results(results, 4, tmp_path)
    assert caught.value.exit_code == 1
    assert {path.name: path.read_text() for path in tmp_path.glob("*.txt")} == {
        "c.txt": "name \\udcff\n",
        "d.txt": "4\n",
    }
    assert (tmp_path / "d.json").read_text() == "{}\n"
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {tmp_path / 'taken/a.txt'}: ")
    assert (second, last) == ("error: b.wav: no audio", "2 of 4 failed")
