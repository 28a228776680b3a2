"""What ``up`` would run: no secret in argv or environment, everything in its state dir."""

import asyncio
from pathlib import Path

import httpx
import pytest

from cli import doctor, parts, ports, programs
from cli.leftovers import MARK
from cli.site import Many, Site, janus_urls
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
    assert list(built) == [
        "etcd",
        "janus",
        "room-manager",
        "janus-manager",
        "mixer",
        "gateway",
        "streams",
    ]
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
    assert list(built) == ["room-manager", "janus-manager", "mixer", "gateway", "streams"]
    assert built["mixer"].env["ONAIR_ETCD_ENDPOINTS"] == "http://10.0.0.5:2379"
    seen = built["mixer"].env["ONAIR_ETCD_SEEN_FILE"]
    assert seen == str(site.state.path / "mixer.10.0.0.5_2379.seen")
    assert seen != _build(site)["mixer"].env["ONAIR_ETCD_SEEN_FILE"], "another etcd, by name"
    assert built["janus-manager"].env["ONAIR_JANUS_MANAGER_ADMIN_URL"] == "ws://10.0.0.5:7188"
    assert other.tcp_ports == [18080, 18081, 18082, 18088]
    assert built["mixer"].env["ONAIR_MIXER_ID"] == "mixer-18080"  # no other up's


def test_further_parts_share_no_port_folder_or_id_with_the_first(site: Site) -> None:
    three = Site(site.state, site.ports, many=Many(3, 2, room_managers=2, gateways=2))
    built = _build(three)
    daemons = ["room-manager", "janus-manager", "mixer", "gateway"]
    assert {*built} == {
        *("etcd", "streams", "janus", "janus-2", *daemons),
        *("room-manager-2", "janus-manager-2", "mixer-2", "mixer-3", "gateway-2"),
    }
    assert len({part.log for part in built.values()}) == len(built)
    assert len({*three.tcp_ports}) == len(three.tcp_ports) == 2 + 3 + 2 + 2 + 1 + 2 * 3
    names = ("ID", "LISTEN", "RTP_PORT_BASE", "MEDIA_DIR", "RUN_DIR")
    for name in names:
        values = [built[m].env[f"ONAIR_MIXER_{name}"] for m in ("mixer", "mixer-2", "mixer-3")]
        assert len({*values}) == 3
    assert built["mixer-2"].env["ONAIR_MIXER_ID"] == "mixer-18080-2"
    assert built["mixer-2"].argv[-1] == "mixer"
    assert built["janus"].argv != built["janus-2"].argv
    origins = built["gateway-2"].env["ONAIR_GATEWAY_ALLOWED_ORIGINS"].split(",")
    assert "http://localhost:18090" in origins, "the pages of every room manager may connect"
    public = {built[m].env["ONAIR_ROOM_MANAGER_PUBLIC_URL"] for m in built if "room-m" in m}
    assert public == {"http://127.0.0.1:18080"}


def test_a_janus_that_runs_elsewhere_is_the_only_one(site: Site) -> None:
    urls = janus_urls("ws://10.0.0.5:7188")
    with pytest.raises(ConfigError, match="--januses"):
        Site(site.state, site.ports, None, urls, Many(januses=2))


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
