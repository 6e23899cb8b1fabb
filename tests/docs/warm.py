"""`forget-audit` and `python` for blocks of pages, without the time that imports take.

One process has everything imported. The programs on the path of a block are small clients that
hand it their words, folder, environment and streams; it forks, and the child does what the program
would have done. Blocks of Python share one child a page.

Usage: python warm.py SOCKET
"""

import array
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import re
import runpy
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

CLIENT = """#!{python} -SEI
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    words = json.dumps([{kind!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    streams = array.array("i", [0, 1, 2])
    line.sendmsg([len(words).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    line.sendall(words)
    sys.exit(int(line.recv(16) or b"70"))
"""
LATE = ("sklearn.datasets", "torch._dynamo")  # imported by what audits call, and slowly
LENGTH = struct.Struct(">Q")


def write_programs(folder: Path, address: str) -> None:
    """Write the clients into a folder for the path of a block."""
    folder.mkdir()
    for name in ("forget-audit", "python"):
        path = folder / name
        path.write_text(CLIENT.format(python=sys.executable, address=address, kind=name))
        path.chmod(0o755)


class Session:
    """A session of Python in a child of the warm process.

    Args:
        address: Where the warm process listens.
        folder: Where it runs.
        environment: Its environment.
        log: File that takes what is printed.
    """

    def __init__(self, address: str, folder: Path, environment: dict[str, str], log: Path) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(address)
        words = json.dumps(["session", [], str(folder), environment]).encode()
        with log.open("ab") as out, Path(os.devnull).open("rb") as empty:
            streams = array.array("i", [empty.fileno(), out.fileno(), out.fileno()])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)]
            self._line.sendmsg([LENGTH.pack(len(words))], rights)
        self._line.sendall(words)

    def run(self, text: str, name: str) -> bool:
        """Run a piece and say whether it went well."""
        words = json.dumps([text, name]).encode()
        self._line.sendall(LENGTH.pack(len(words)) + words)
        return self._line.recv(16) == b"0"

    def close(self) -> None:
        """End the session."""
        self._line.close()


def serve(address: str) -> NoReturn:
    """Import everything and answer until the process is ended."""
    prepare()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        gc.freeze()
        while True:
            line, _ = door.accept()
            if os.fork() == 0:
                door.close()
                os._exit(attend(line))
            line.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass


def prepare() -> None:
    """Import the program, and answer its questions."""
    import typer

    import forget_audit

    for module in pkgutil.walk_packages(forget_audit.__path__, "forget_audit."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    for name in LATE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    words = {"prompt": "correct horse battery staple", "confirm": True}
    for name, answer in words.items():
        setattr(typer, name, lambda *_, answer=answer, **__: answer)


def attend(line: socket.socket) -> int:
    """Do in this child what a client asks, and tell it how that ended."""
    head, rights, _, _ = line.recvmsg(LENGTH.size, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i", rights[0][2])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    kind, words, folder, environment = json.loads(exactly(line, LENGTH.unpack(head)[0]))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [*environment.get("PYTHONPATH", "").split(os.pathsep), folder]
    if kind == "session":
        names: dict[str, Any] = {"__name__": "__main__"}
        while head := line.recv(LENGTH.size):
            text, name = json.loads(exactly(line, LENGTH.unpack(head)[0]))
            code = ended(partial(exec, compile(text, name, "exec"), names))
            line.sendall(str(code).encode())
        return 0
    code = ended(lambda: program(kind, words))
    line.sendall(str(code).encode())
    return 0


def program(kind: str, words: list[str]) -> None:
    """Do what `forget-audit WORDS` or `python WORDS` does."""
    if kind == "forget-audit":
        from forget_audit import cli

        sys.argv = [kind, *words]
        if "FEWER" in os.environ and words[:1] == ["certify"]:
            fewer(Path(words[1]), os.environ["FEWER"])
        if words[:2] == ["keys", "new"]:  # asks for a passphrase; all others are not at a terminal
            sys.stdin.isatty = lambda: True  # type: ignore[method-assign]
        cli.main()
    elif words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def fewer(plan: Path, what: str) -> None:
    """Let a plan that `init` wrote ask for one attack and no PDF, and perhaps for few models."""
    text = plan.read_text("utf-8")
    if "shadows = 0" not in text:
        text = text.replace("[references]\n", "[references]\nshadows = 0\n")
        text = text.replace("[battery]\n", '[battery]\nattacks = ["lira"]\n')
    text = text.replace('formats = ["html", "pdf"]', 'formats = ["html"]')
    for key, count in (("retrained", 5), ("originals", 2)) if what == "models" else ():
        text = re.sub(rf"^{key} = \d+", f"{key} = {count}", text, flags=re.MULTILINE)
    plan.write_text(text, encoding="utf-8")


def ended(action: Callable[[], None]) -> int:
    """Run something and return the exit code that it would have as a program."""
    code = 0
    try:
        action()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
    except BaseException:  # noqa: BLE001 whatever a program dies of
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def exactly(line: socket.socket, length: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < length:
        piece = line.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


if __name__ == "__main__":
    serve(sys.argv[1])
