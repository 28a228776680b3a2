"""What ``up`` says. Written by a thread of its own, so that a terminal or pipe that nobody reads
never stops the supervision; what does not fit the queue is dropped, and counted.
"""

import io
import os
import queue
import shutil
import sys
import threading

from rich.console import Console, RenderableType

QUEUE_LINES = 5000
CLOSE_SECONDS = 1.0


class Terminal:
    """Line by line to a file descriptor. ``close`` waits at most a second for the last ones."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._console = Console(
            file=io.StringIO(),
            force_terminal=sys.stdout.isatty(),
            width=shutil.get_terminal_size((100, 25)).columns,
            highlight=False,
        )
        self._lines: queue.Queue[bytes | None] = queue.Queue(QUEUE_LINES)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._writer.start()

    def say(self, what: RenderableType) -> None:
        with self._console.capture() as capture:
            self._console.print(what, soft_wrap=isinstance(what, str) or hasattr(what, "plain"))
        self._put(capture.get().encode(errors="replace"))

    def close(self) -> None:
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._writer.join(CLOSE_SECONDS)

    def _put(self, text: bytes) -> None:
        note = f"({self._dropped} lines not shown)\n".encode() if self._dropped else b""
        try:
            self._lines.put_nowait(note + text)
        except queue.Full:
            self._dropped += 1
        else:
            self._dropped = 0

    def _write(self) -> None:
        while (text := self._lines.get()) is not None:
            try:
                _write_all(self._descriptor, text)
            except OSError:
                return  # nobody reads any more: the terminal was closed, or the pipe


def _write_all(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]
