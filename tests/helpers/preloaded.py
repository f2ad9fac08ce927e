"""`asr` for scripts that run it many times: a process that has loaded the libraries forks for every command.

The command has the arguments, folder, environment and streams that it was called with, and its status is passed on:
all as by the console script, but for the seconds that importing torch takes.
"""

import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    called = json.dumps([sys.argv, os.getcwd(), dict(os.environ)])
    socket.send_fds(server, [called.encode("utf-8", "surrogateescape")], [0, 1, 2])
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(9) or 1))
"""


@contextmanager
def preloaded_asr(folder: Path) -> Iterator[Path]:
    """A folder, for the PATH, with an `asr` in it that works as long as the block runs."""
    script, address = folder / "asr", str(folder / "socket")
    script.write_text(CLIENT.format(python=sys.executable, address=address))
    script.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        command = [sys.executable, __file__, str(listening.fileno())]
        server = subprocess.Popen(command, pass_fds=[listening.fileno()])
    try:
        yield folder
    finally:
        server.terminate()
        server.wait()


def serve(listening: socket.socket) -> None:
    # What commands import when they come to need it.
    import torchaudio  # noqa: F401

    import asr.decode.search
    import asr.evaluate.run
    import asr.train.run
    import asr.transcribe  # noqa: F401
    from asr.__main__ import main

    gc.freeze()  # a collection would write to all memory, which would then be copied
    while True:
        caller, _ = listening.accept()
        content, streams, _, _ = socket.recv_fds(caller, 2**20, 3)
        while more := caller.recv(2**20):
            content += more
        child = os.fork()
        if child == 0:
            sys.argv, place, environment = json.loads(content.decode("utf-8", "surrogateescape"))
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
            sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
            os.chdir(place)
            os.environ.clear()
            os.environ.update(environment)
            main()
            raise SystemExit  # what follows is the server's
        for stream in streams:
            os.close(stream)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        caller.sendall(str(status).encode())
        caller.close()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
