"""What the library logs is printed once, to the stderr of the moment."""

import logging
import sys

from asr.cli.console import set_up_logging


def test_messages_go_to_stderr_once_and_warnings_say_so(capsys):
    set_up_logging()
    set_up_logging()
    logging.getLogger("asr.some.module").info("reading")
    logging.getLogger("asr").warning("odd")
    assert capsys.readouterr().err == "reading\nwarning: odd\n"
    print("later", file=sys.stderr)
    logging.getLogger("asr").info("as well")
    assert capsys.readouterr() == ("", "later\nas well\n")
