"""The files of the pages (web/), read once when the process starts; nothing is read later.

Layout: ``web/*.html`` are templates, served at addresses of their own (``pages``); in them
``{assets}`` stands for the folder where all the rest of web/ is served: ``assets/`` and a hash
of all its content. So what is there never changes, and may be cached for ever. Scripts import
each other by relative paths. What has no kind below (package.json, tools) is not served.
"""

import gzip
import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pkg.errors import ConfigError

FOLDER = Path(__file__).parents[1] / "web"  # beside this package, also where it is installed
TEMPLATES = ("index", "studio", "listen", "missing")
KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".LICENSE": "text/plain; charset=utf-8",
}
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class File:
    """``packed``: the body in gzip; None where that saves nothing."""

    kind: str
    body: bytes
    packed: bytes | None
    tag: str

    @classmethod
    def of(cls, kind: str, body: bytes) -> "File":
        packed = gzip.compress(body, 9, mtime=0)
        tag = hashlib.sha256(kind.encode() + b"\0" + body).hexdigest()[:16]
        return cls(kind, body, packed if len(packed) < 0.9 * len(body) else None, tag)


class Pages:
    """The pages as they are sent, and the ``files`` they need, by their path below web/.

    A page's links are relative, so that they also work below a proxy's prefix.
    """

    def __init__(self, templates: Mapping[str, str], files: Mapping[str, File]) -> None:
        self.files = files
        tags = "".join(f"{name}\0{file.tag}\0" for name, file in sorted(files.items()))
        self.version = hashlib.sha256(tags.encode()).hexdigest()[:16]
        self.index = self._page(templates["index"], "")
        self.studio = self._page(templates["studio"], "../")
        self.listen = self._page(templates["listen"], "../")
        self._missing = templates["missing"].replace("{assets}", f"/assets/{self.version}")

    def _page(self, template: str, up: str) -> File:
        text = template.replace("{assets}", f"{up}assets/{self.version}")
        return File.of(HTML, text.encode())

    def missing(self, words: str) -> File:
        """Wherever it was looked for."""
        return File.of(HTML, self._missing.replace("{words}", html.escape(words)).encode())


def load(folder: Path = FOLDER) -> Pages:
    """Raises ConfigError if a page is not there: the installation is not whole."""
    try:
        templates = {name: (folder / f"{name}.html").read_text("utf-8") for name in TEMPLATES}
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; install Onair again") from None
    paths = [p for p in folder.rglob("*") if p.suffix in KINDS and p.is_file()]
    files = {
        path.relative_to(folder).as_posix(): File.of(KINDS[path.suffix], path.read_bytes())
        for path in paths
    }
    return Pages(templates, files)
