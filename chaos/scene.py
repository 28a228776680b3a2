"""What a run needs of a running ``up``: its API, its processes, and a witness of all its lists.

Everything but the addresses is read from the daemons' own settings, so that an ``up`` on other
folders, ports, an etcd prefix or an etcd of its own is understood, too.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from chaos.api import Api
from chaos.promises import Promises
from chaos.targets import Targets
from chaos.witness import JanusPart, MixerPart, Witness
from cli import endpoints
from pkg.config import read_secret
from pkg.errors import ConfigError
from pkg.etcd.client import EtcdClient, EtcdOptions
from pkg.model import ModuleId

Settings = Mapping[str, str]
# Findings about a port that nobody's FFmpeg has are left out: any stranger on this machine may
# have bound it, and an FFmpeg that had leaked would be found as a process.
NO_ROOM = ("", "mixer", "janus")


@dataclass
class Scene:
    """``public`` asks what anybody may ask; ``prefix`` begins the ids of all our rooms."""

    targets: Targets
    api: Api
    public: httpx.AsyncClient
    witness: Witness
    promises: Promises
    prefix: str
    gateways: Sequence[str] = ()  # where hosts connect

    @property
    def state_dir(self) -> Path:
        return self.targets.state_dir

    def playlists(self, room: str) -> list[str]:
        return [f"{base}/hls/{room}/live.m3u8" for base in self.api.bases]

    def ours(self, findings: Iterable[str]) -> list[str]:
        """Those about our rooms, or about no room at all; each once."""
        return [text for text in dict.fromkeys(findings) if self._is_ours(text)]

    def _is_ours(self, finding: str) -> bool:
        subject = _subject(finding)
        return subject in NO_ROOM or subject.startswith(self.prefix)


@asynccontextmanager
async def found(state_dir: Path, prefix: str) -> AsyncGenerator[Scene]:
    """Raises ConfigError, which says what to do, if there is no ``up``, or not all of it is up."""
    record = endpoints.read(state_dir / "endpoints.json")
    targets = Targets(state_dir, prefix)
    if missing := targets.missing():
        raise ConfigError(f"not all parts of up are running: {', '.join(missing)} is not there")
    own = {"Authorization": f"Bearer {record.get('apiKey', '')}"}
    (manager, *_) = targets.settings("room-manager")
    options = EtcdOptions(
        endpoints=(record["etcd"],),
        namespace=manager.get("ONAIR_ETCD_PREFIX", ""),
    )
    etcd = EtcdClient(options)
    try:
        async with (
            httpx.AsyncClient(headers=own, trust_env=False) as http,
            httpx.AsyncClient(trust_env=False) as public,
        ):
            witness = _witness(etcd, public, targets, manager)
            promises = Promises(witness.ledger)
            api = Api(_apis(record), http)
            gateways = _gateways(record)
            yield Scene(targets, api, public, witness, promises, prefix, gateways)
    finally:
        await etcd.aclose()


def _apis(record: Mapping[str, Any]) -> list[str]:
    return [record["api"], *record.get("further", {}).get("apis", ())]


def _gateways(record: Mapping[str, Any]) -> list[str]:
    first = record.get("gateway")
    return [*([first] if first else ()), *record.get("further", {}).get("gateways", ())]


def _witness(
    etcd: EtcdClient, http: httpx.AsyncClient, targets: Targets, manager: Settings
) -> Witness:
    return Witness(
        etcd,
        http,
        _secret(manager, "ONAIR_MASTER_SECRET_FILE").encode(),
        [_mixer(told) for told in targets.settings("mixer")],
        [_janus(told) for told in targets.settings("janus-manager")],
    )


def _mixer(told: Settings) -> MixerPart:
    first = int(told["ONAIR_MIXER_RTP_PORT_BASE"])
    return MixerPart(
        ModuleId(told["ONAIR_MIXER_ID"]),
        Path(told["ONAIR_MIXER_MEDIA_DIR"]),
        Path(told["ONAIR_MIXER_RUN_DIR"]),
        range(first, first + int(told["ONAIR_MIXER_RTP_PORTS"])),
    )


def _janus(told: Settings) -> JanusPart:
    return JanusPart(
        ModuleId(told["ONAIR_JANUS_MANAGER_ID"]),
        told["ONAIR_JANUS_MANAGER_ADMIN_HTTP_URL"],
        _secret(told, "ONAIR_JANUS_MANAGER_ADMIN_SECRET_FILE"),
        _secret(told, "ONAIR_JANUS_MANAGER_ADMIN_KEY_FILE"),
    )


def _secret(told: Settings, name: str) -> str:
    return read_secret(Path(told[name]), name).get_secret_value().decode()


def _subject(finding: str) -> str:
    """What the judge's finding is about: its second word.

    >>> _subject("I5 blue: 2 FFmpegs"), _subject("I5 port 17: bound by nobody's FFmpeg")
    ('blue', 'port')
    """
    words = finding.split(" ")
    return words[1].rstrip(":") if len(words) > 1 else ""
