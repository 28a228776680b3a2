"""``python -m cli``, which ``./onair`` runs: every command of contract.md §1, wired only.

Heavy imports stand inside the commands that need them: a call must answer at once.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import modules, rooms
from cli.parts import MODULES
from cli.site import MOST
from cli.statedir import DEFAULT, ROOT, StateDir
from pkg.errors import OnairError

app = typer.Typer(
    name="onair",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Onair: live audio rooms on your own machines.",
)
app.add_typer(rooms.app, name="rooms")
app.add_typer(modules.app, name="modules")
app.command("token")(rooms.token)

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
DAEMONS = {
    "room-manager": "accepts wishes over REST, places rooms",
    "janus-manager": "makes one Janus match its assignments",
    "mixer": "makes this node's FFmpeg processes match its assignments",
    "gateway": "carries hosts' signalling between browsers and Janus",
}

StateDirOption = Annotated[Path, typer.Option(help="where everything is kept")]
PortBaseOption = Annotated[
    int,
    typer.Option(help="REST and pages on N, gateway on N+1, HLS origin on N+2, the rest above it"),
]
SEVERAL = typer.Option(min=1, max=MOST, help="how many, so that one can fail or be drained")


@app.command()
def up(  # noqa: PLR0913 - each argument is an option of the command
    state_dir: StateDirOption = DEFAULT,
    port_base: PortBaseOption = 8080,
    etcd: Annotated[str | None, typer.Option(help="URL of an etcd that already runs")] = None,
    janus: Annotated[
        str | None, typer.Option(help="URL of the admin API of a Janus that already runs")
    ] = None,
    mixers: Annotated[int, SEVERAL] = 1,
    januses: Annotated[int, SEVERAL] = 1,
    room_managers: Annotated[int, SEVERAL] = 1,
    gateways: Annotated[int, SEVERAL] = 1,
    no_install: Annotated[
        bool, typer.Option("--no-install", help="install nothing; name what is missing")
    ] = False,
    verbose: Annotated[bool, typer.Option(help="show all that etcd and Janus say")] = False,
) -> None:
    """Everything on this machine, supervised in one terminal. Ctrl-C stops it."""
    from cli import ports, site
    from cli import up as upping

    del no_install  # ./onair has acted on it; what comes after it never installs anything
    where = site.Site(
        state=StateDir.at(state_dir),
        ports=ports.plan(port_base),
        etcd=etcd,
        other_janus=site.janus_urls(janus) if janus else None,
        many=site.Many(mixers, januses, room_managers, gateways),
    )
    raise typer.Exit(upping.run(where, verbose=verbose))


@app.command(context_settings={**PASS_ON, "help_option_names": []})
def test(context: typer.Context) -> None:
    """Every test, on real parts. Arguments are pytest's."""
    from cli import develop

    raise typer.Exit(develop.test(context.args))


@app.command()
def verify() -> None:
    """Lint, formatting, types, import contracts: what CI checks besides tests."""
    from cli import develop

    raise typer.Exit(develop.verify())


@app.command()
def tone(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="a room that is started")],
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", help="of a running up (or: ONAIR_STATE_DIR)")
    ] = None,
    hertz: Annotated[int, typer.Option(min=20, max=20_000, help="its pitch")] = 440,
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="how long it plays")] = 60,
) -> None:
    """Play a test tone into a room of the `up` beside it. Ctrl-C ends it."""
    from cli import tone as tones
    from cli.client import Where, connect, state_of
    from pkg.config import read_secret

    where = Where(None, None, None, state_dir)
    master = read_secret(state_of(where).secret("master"), "master_secret_file")
    print(f"{hertz} Hz in {room} for {seconds} s", flush=True)
    tones.play(connect(where), master.get_secret_value(), room, hertz, seconds)


@app.command()
def doctor(
    state_dir: StateDirOption = DEFAULT,
    port_base: PortBaseOption = 8080,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Check each part, and say how to mend what is wrong. Exit code 1 if something fails."""
    from cli import doctor as doctors

    findings = list(doctors.examine(StateDir.at(state_dir), port_base))
    if as_json:
        rows = [
            {"check": name, "level": f.level, "says": f.says, "mend": f.mend}
            for name, f in findings
        ]
        print(json.dumps(rows, indent=2))
    else:
        Console().print(doctors.table(findings))
    raise typer.Exit(any(f.level is doctors.Level.FAIL for _, f in findings))


def _add_program(name: str, module: str, help_text: str) -> None:
    """A command that becomes another of our programs: same pid, arguments passed on."""

    def run(context: typer.Context) -> None:
        os.execv(sys.executable, [sys.executable, "-P", "-m", module, *context.args])  # noqa: S606

    settings = {**PASS_ON, "help_option_names": []}
    app.command(name, context_settings=settings, help=help_text)(run)


for _name, _help in DAEMONS.items():
    _add_program(_name, MODULES[_name], f"One daemon in the foreground: {_help}.")
if (ROOT / "bench" / "__main__.py").exists():
    _add_program("bench", "bench", "The benchmarks.")
_add_program("streams", "streams", "The durable stream server alone; `check DIR`, `compact DIR`.")
_add_program("chaos", "chaos", "Random faults against a running up, and whether it stood them.")


def main() -> None:
    os.environ.setdefault("PYTHONPATH", str(ROOT))  # what we run finds our packages, too
    try:
        app(prog_name="./onair")
    except OnairError as error:
        Console(stderr=True, highlight=False, markup=False).print(f"onair: {error}", soft_wrap=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
