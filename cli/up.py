"""``./onair up``: one machine's whole Onair in one terminal (contract.md §1)."""

import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import httpx
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import endpoints, janusconf, leftovers, parts, ports, programs, ready, render
from cli.logfile import LogFile
from cli.parts import DAEMONS_RANK
from cli.site import Site
from cli.statedir import locked
from cli.supervisor import StartFailedError, Supervisor
from cli.terminal import Terminal
from pkg.errors import ConfigError

FOLLOW_SECONDS = 0.1
FFMPEG_GRACE_SECONDS = 3.0
LEFTOVER_GRACE_SECONDS = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(site: Site, *, verbose: bool) -> int:
    """Blocks until a signal; answers the exit code. Raises ConfigError before anything starts."""
    version = preflight(site)
    site.state.make()
    with locked(site.state):
        terminal = Terminal()
        try:
            return anyio.run(Up(site, terminal, version, verbose).run)
        finally:
            terminal.close()


def preflight(site: Site) -> programs.Version:
    """Are the programs there? Answers etcd's version, (0,) if it is not ours to start."""
    wanted = ["ffmpeg", *([] if site.other_janus else ["janus"])]
    for program in wanted:
        programs.path_of(program)
    if site.etcd:
        return (0,)
    version = programs.version_of("etcd")
    if version < programs.OLDEST_ETCD:
        raise ConfigError(
            f"etcd {programs.dotted(version)} is too old; "
            f"{programs.dotted(programs.OLDEST_ETCD)} or newer is needed (3.5.28 or 3.6 is best)"
        )
    return version


def refuse_taken(wanted: Sequence[int]) -> None:
    """Raises ConfigError naming the first port that is taken, its holder, and what to do."""
    for port in ports.taken(wanted):
        raise ConfigError(
            f"port {port} is taken by {ports.holder(port)}: stop that, "
            "or choose other ports with --port-base"
        )


@dataclass
class Up:
    site: Site
    terminal: Terminal
    etcd_version: programs.Version
    verbose: bool
    _supervisor: Supervisor = field(init=False)
    _logs: list[tuple[str, LogFile]] = field(init=False)
    _begun: float = field(init=False)
    _announced: bool = False

    async def run(self) -> int:
        self._begun = anyio.current_time()
        async with httpx.AsyncClient(trust_env=False) as client:
            await self._clear_leftovers()
            refuse_taken(self.site.tcp_ports)
            await self._check_others(client)
            for n in self.site.janus_numbers:
                files = janusconf.render(self.site.janus_settings(n))
                janusconf.write(parts.janus_folder(self.site, n), files)
            planned = parts.build(self.site, client, self.etcd_version, dict(os.environ))
            self._supervisor = Supervisor(
                planned,
                self._tell,
                self._publish,
                random.Random(),  # noqa: S311 - jitter only
            )
            self._tell("up", "starting " + ", ".join(part.name for part in planned))
            self._logs = [(part.name, LogFile(part.log)) for part in planned]
            return await self._supervise()

    async def _clear_leftovers(self) -> None:
        """An ``up`` that was killed leaves its parts running: end them, start clean."""
        self.site.state.endpoints.unlink(missing_ok=True)
        left = leftovers.find(self.site.state.path)
        if left:
            self._tell("up", f"ending {len(left)} processes of an earlier up that was killed")
            await leftovers.end(left, grace_seconds=LEFTOVER_GRACE_SECONDS)

    async def _check_others(self, client: httpx.AsyncClient) -> None:
        """An etcd or Janus that is not ours must answer before we start anything."""
        site = self.site
        if site.etcd and (why := await ready.etcd(client, site.etcd)(0)):
            raise ConfigError(f"--etcd {site.etcd}: {why}")
        if site.other_janus:
            secret = site.state.secret("janus-admin-secret")
            probe = ready.janus(client, site.other_janus.admin_http, site.secret(secret.name))
            if why := await probe(0):
                raise ConfigError(f"--janus: {why}; its admin_secret must stand in {secret}")

    async def _supervise(self) -> int:
        code = 0
        async with anyio.create_task_group() as tasks:
            running = anyio.CancelScope()
            tasks.start_soon(self._stop_on_signal, running)
            tasks.start_soon(self._follow_logs)
            with running:
                try:
                    await self._supervisor.run(self._announce)
                except* StartFailedError as failures:
                    self._show_failure(failures)
                    code = 1
            with anyio.CancelScope(shield=True):
                await self._stop()
            tasks.cancel_scope.cancel()
        self._show_new_lines()
        self._tell("up", "stopped; nothing is left running")
        return code

    async def _stop(self) -> None:
        self.site.state.endpoints.unlink(missing_ok=True)
        self._tell("up", "stopping (again Ctrl-C: at once)")
        await self._supervisor.stop(self._end_ffmpegs)

    async def _end_ffmpegs(self, rank: int) -> None:
        """They outlive their mixer by design, so that nobody but us ends them here."""
        if rank == DAEMONS_RANK:
            others = self._supervisor.pids.values()
            left = leftovers.find(self.site.state.path, besides=list(others))
            await leftovers.end(left, grace_seconds=FFMPEG_GRACE_SECONDS)

    async def _stop_on_signal(self, running: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async for _ in signals:
                if running.cancel_called:
                    self._supervisor.kill()
                running.cancel()

    async def _follow_logs(self) -> None:
        while True:
            self._show_new_lines()
            await anyio.sleep(FOLLOW_SECONDS)

    def _show_new_lines(self) -> None:
        for name, log in self._logs:
            for line in log.new_lines():
                if line and (self.verbose or not render.is_noise(name, line)):
                    self.terminal.say(render.render(name, line))

    def _tell(self, part: str, words: str) -> None:
        self.terminal.say(render.prefix(part).append(words, "bold"))

    def _show_failure(self, failures: BaseExceptionGroup[StartFailedError]) -> None:
        for failure in failures.exceptions:
            if isinstance(failure, BaseExceptionGroup):
                self._show_failure(failure)
            else:
                self._tell("up", f"could not start: {failure}")

    def _announce(self) -> None:
        self._announced = True
        self._publish()
        seconds = anyio.current_time() - self._begun
        self.terminal.say(panel(self.site, seconds))
        self.terminal.say(Text(first_call(self.site)))

    def _publish(self) -> None:
        """Write endpoints.json anew; also called when a part has come back with a new pid."""
        if not self._announced:  # not everything answers yet
            return
        site = self.site
        record = endpoints.Endpoints(
            api=site.api_url,
            gateway=site.gateway_urls[0],
            hls=site.hls_urls[0],
            etcd=site.etcd_url,
            streams=site.streams_url,
            janus_admin=site.januses[0].admin_http,
            api_key=site.secret("api-key"),
            pids=self._supervisor.pids,
            further=further(site),
        )
        endpoints.write(site.state.endpoints, record)


def further(site: Site) -> dict[str, list[str]]:
    """Addresses of the second, third and fourth of each part."""
    return {
        "apis": site.api_urls[1:],
        "gateways": site.gateway_urls[1:],
        "hls": site.hls_urls[1:],
        "janusAdmins": [janus.admin_http for janus in site.januses[1:]],
    }


def panel(site: Site, seconds: float) -> Panel:
    """What somebody who has just started it wants to know, and can paste."""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("Console", f"{site.api_url}/#key={site.secret('api-key')}"),
        ("REST API", f"{site.api_url}/docs"),
        *(("another", url) for url in site.api_urls[1:]),
        *(("Gateway", url) for url in site.gateway_urls),
        *(("HLS origin", url) for url in site.hls_urls),
        ("etcd", site.etcd_url),
        ("Streams", site.streams_url),
        *(("Janus admin", janus.admin_http) for janus in site.januses),
        ("API key", site.secret("api-key")),
        ("State, logs", str(site.state.path)),
    ):
        table.add_row(Text(name, "bold"), Text(value, overflow="fold"))
    return Panel(table, title=f"Onair is up ({seconds:.1f} s). Ctrl-C stops it", expand=False)


def first_call(site: Site) -> str:
    """On a line of its own, so that it can be copied whole."""
    key = site.secret("api-key")
    return f"Try:  curl -H 'Authorization: Bearer {key}' {site.api_url}/api/modules"
