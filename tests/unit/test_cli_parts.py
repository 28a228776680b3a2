"""What ``up`` would run: no secret in argv or environment, everything in its state dir."""

import asyncio
from pathlib import Path

import httpx
import pytest

from cli import doctor, parts, ports, programs
from cli.leftovers import MARK
from cli.parts import Site, janus_urls
from cli.statedir import SECRETS, StateDir
from cli.supervisor import Part
from pkg.errors import ConfigError

CALLER = {"PATH": "/usr/bin", "ETCD_NAME": "stranger", "ONAIR_LOG_LEVEL": "debug"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    state = StateDir.at(tmp_path / "state")
    state.make()
    return Site(state, ports.plan(18080))


def _build(site: Site) -> dict[str, Part]:
    async def build() -> dict[str, Part]:
        async with httpx.AsyncClient() as client:
            return {p.name: p for p in parts.build(site, client, (3, 4, 23), CALLER)}

    return asyncio.run(build())


def test_no_secret_is_in_argv_or_environment(site: Site) -> None:
    secrets = [site.secret(name) for name in SECRETS]
    for part in _build(site).values():
        said = [*part.argv, *part.env.values()]
        assert not [text for text in said if any(secret in text for secret in secrets)]


def test_every_part_carries_the_mark_and_logs_into_the_state_dir(site: Site) -> None:
    built = _build(site)
    assert list(built) == ["etcd", "janus", "room-manager", "janus-manager", "mixer"]
    for part in built.values():
        assert part.env[MARK] == str(site.state.path)
        assert part.log.is_relative_to(site.state.path)


def test_the_callers_settings_reach_daemons_but_not_etcd(site: Site) -> None:
    built = _build(site)
    assert built["mixer"].env["ONAIR_LOG_LEVEL"] == "debug"
    assert "ETCD_NAME" not in built["etcd"].env


def test_daemons_stop_before_janus_and_janus_before_etcd(site: Site) -> None:
    rank = {name: part.stop_rank for name, part in _build(site).items()}
    assert rank["mixer"] == rank["room-manager"] == rank["janus-manager"]
    assert rank["mixer"] < rank["janus"] < rank["etcd"]


def test_others_are_used_and_not_started(site: Site) -> None:
    urls = janus_urls("ws://10.0.0.5:7188")
    other = Site(site.state, site.ports, "http://10.0.0.5:2379", urls)
    built = _build(other)
    assert list(built) == ["room-manager", "janus-manager", "mixer"]
    assert built["mixer"].env["ONAIR_ETCD_ENDPOINTS"] == "http://10.0.0.5:2379"
    assert built["janus-manager"].env["ONAIR_JANUS_MANAGER_ADMIN_URL"] == "ws://10.0.0.5:7188"
    assert other.tcp_ports == [18080, 18082]
    assert built["mixer"].env["ONAIR_MIXER_ID"] == "mixer-18080"  # no other up's


@pytest.mark.parametrize(
    "url", ["", "10.0.0.5:7188", "https://h:7088", "http://h", "http://h:99999", "ws://:1"]
)
def test_a_janus_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--janus"):
        janus_urls(url)


@pytest.mark.parametrize("url", ["ws://[::1]:18086", "http://[::1]:18087/admin"])
def test_the_janus_of_another_up_is_understood(url: str) -> None:
    urls = janus_urls(url)
    assert urls.ws == "ws://[::1]:18085"
    assert urls.admin_ws == "ws://[::1]:18086"
    assert urls.admin_http == "http://[::1]:18087/admin"


@pytest.mark.parametrize(
    ("version", "flag"),
    [
        ((3, 4, 23), "--experimental-watch-progress-notify-interval=1s"),
        ((3, 5, 28), "--experimental-watch-progress-notify-interval=1s"),
        ((3, 6, 1), "--watch-progress-notify-interval=1s"),
    ],
)
def test_etcd_sends_bookmarks_whatever_the_flag_is_called(
    site: Site, version: programs.Version, flag: str
) -> None:
    assert flag in parts.etcd_argv(site, version)


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 3, 25), doctor.Level.FAIL),
        ((3, 4, 10), doctor.Level.FAIL),
        ((3, 4, 23), doctor.Level.OK),
        ((3, 5, 0), doctor.Level.WARN),
        ((3, 5, 2), doctor.Level.WARN),
        ((3, 5, 28), doctor.Level.OK),
        ((3, 6, 0), doctor.Level.OK),
    ],
)
def test_doctor_judges_etcd(version: programs.Version, level: doctor.Level) -> None:
    finding = doctor.judge_etcd(version)
    assert finding.level is level
    assert bool(finding.mend) == (level is not doctor.Level.OK)


def test_doctor_fails_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for finding in (doctor.etcd(), doctor.janus(), doctor.ffmpeg()):
        assert finding.level is doctor.Level.FAIL
        assert "apt-get install" in finding.mend
