"""What the library logs comes as plain lines on stderr."""

import logging

import typer
from typer.testing import CliRunner

from asr.cli.console import commands, set_up_logging


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
