"""``STATE_DIR/endpoints.json``: how everyone finds a running ``up`` (contract.md §1).

There from when everything answers until ``up`` ends; rewritten when a part got a new pid.
``further`` is there if ``up`` runs more than one of a part: the addresses besides the first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkg.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Endpoints:
    api: str
    gateway: str
    hls: str
    etcd: str
    streams: str
    janus_admin: str
    api_key: str
    pids: dict[str, int]
    further: Mapping[str, list[str]] = field(default_factory=dict)  # apis, gateways, hls, …

    def __repr__(self) -> str:  # never show the key
        return f"Endpoints(api={self.api!r}, pids={self.pids!r})"

    def to_json(self) -> str:
        """
        >>> urls = ("http://a", "ws://g", "http://h", "http://e", "http://s", "http://j")
        >>> print(Endpoints(*urls, api_key="k", pids={}).to_json())
        {
          "api": "http://a",
          "gateway": "ws://g",
          "hls": "http://h",
          "etcd": "http://e",
          "streams": "http://s",
          "janusAdmin": "http://j",
          "apiKey": "k",
          "pids": {}
        }
        """
        record: dict[str, object] = {
            "api": self.api,
            "gateway": self.gateway,
            "hls": self.hls,
            "etcd": self.etcd,
            "streams": self.streams,
            "janusAdmin": self.janus_admin,
            "apiKey": self.api_key,
            "pids": self.pids,
        }
        if any(self.further.values()):
            record["further"] = self.further
        return json.dumps(record, indent=2)


def write(path: Path, endpoints: Endpoints) -> None:
    """Replace the file in one step, readable by this user only (it holds the API key)."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)
    aside.write_text(endpoints.to_json() + "\n")
    aside.rename(path)


def read(path: Path) -> dict[str, Any]:
    """Raises ConfigError if nothing runs there, or the file is not one of ours."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"nothing runs here ({path} does not exist): run ./onair up first, "
            "or name a running one with --api and --key-file"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("api"), str):
        raise ConfigError(f"{path} is no endpoints file; delete it and run ./onair up again")
    return value
