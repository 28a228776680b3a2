"""``./onair rooms …`` and ``./onair token``: a client of the REST API."""

import re
import time
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Group
from rich.json import JSON
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.client import Client
from cli.events import events
from cli.options import Out, with_client

app = typer.Typer(no_args_is_help=True, help="Rooms: create, put on air, take off, look at.")

RoomId = Annotated[str, typer.Argument(metavar="ID", help="the room's id")]
app.command("events")(events)
STATUS_COLOURS = {"onair": "green", "degraded": "red", "starting": "yellow", "stopping": "yellow"}
WATCH_SECONDS = 1.0
PAGE = "200"


@app.command()
@with_client
def create(
    client: Client,
    out: Out,
    room_id: RoomId,
    pin: Annotated[str | None, typer.Option(help="listeners must know it")] = None,
) -> None:
    """Make a room. It is idle until `start`."""
    body = {"roomId": room_id} | ({"pin": pin} if pin is not None else {})
    room = client.call("POST", "/api/rooms", body)
    out.show(room, describe(room))


@app.command()
@with_client
def start(
    client: Client,
    out: Out,
    room_id: RoomId,
    wait: Annotated[
        int, typer.Option(min=0, max=60, help="seconds to wait until it is on air")
    ] = 0,
) -> None:
    """Put a room on air."""
    query = {"wait": str(wait)} if wait else {}
    room = client.call("POST", f"/api/rooms/{room_id}/start", **query)
    out.show(room, describe(room))


@app.command()
@with_client
def stop(client: Client, out: Out, room_id: RoomId) -> None:
    """Take a room off air; it stays, idle."""
    room = client.call("POST", f"/api/rooms/{room_id}/stop")
    out.show(room, describe(room))


@app.command()
@with_client
def delete(client: Client, out: Out, room_id: RoomId) -> None:
    """Take a room off air and forget it."""
    room = client.call("DELETE", f"/api/rooms/{room_id}")
    out.show(room, describe(room))


@app.command()
@with_client
def get(client: Client, out: Out, room_id: RoomId) -> None:
    """Show one room."""
    room = client.call("GET", f"/api/rooms/{room_id}")
    out.show(room, Group(describe(room), JSON.from_data(room)))


@app.command()
@with_client
def ls(
    client: Client,
    out: Out,
    watch: Annotated[bool, typer.Option("--watch", help="go on showing, until Ctrl-C")] = False,
) -> None:
    """List all rooms."""
    if watch:
        _watch(client, out)
    rooms = every_room(client)
    out.show({"rooms": rooms}, table(rooms))


@app.command()
@with_client
def explain(client: Client, out: Out, room_id: RoomId) -> None:
    """Desired state beside what each module reports; why a room is not on air, or has moved."""
    told = client.call("GET", f"/api/rooms/{room_id}/explain")
    rest = {name: value for name, value in told.items() if name != "reason"}
    reason = Text(str(told.get("reason") or "nothing is wrong"), "bold")
    out.show(told, Group(reason, *map(Text, story(told)), JSON.from_data(rest)))


def story(told: dict[str, Any]) -> list[str]:
    """Where the room came from, and whom its listeners hear, if it was moved.

    >>> old, new = {"mixerId": "m1", "epoch": 7}, {"mixerId": "m2", "epoch": 9}
    >>> wish = {"mixerId": "m2", "mixerEpoch": 9, "moved": "m1 is draining", "previous": old}
    >>> story({"desired": wish, "observed": {"mixer": new | {"status": "starting"}}})
    ['moved: m1 is draining', 'listeners hear m1, until m2 publishes']
    >>> story({"desired": wish, "observed": {"mixer": new | {"status": "publishing"}}})
    ['moved: m1 is draining', 'listeners hear m2; m1 serves its last segments']
    """
    wish = told.get("desired") or {}
    said = [f"moved: {wish['moved']}"] if wish.get("moved") else []
    before = wish.get("previous")
    if before is None:
        return said
    mixer = told["observed"].get("mixer") or {}
    heard = (mixer.get("epoch"), mixer.get("status")) == (wish["mixerEpoch"], "publishing")
    old, new = before["mixerId"], wish["mixerId"]
    if heard:
        return [*said, f"listeners hear {new}; {old} serves its last segments"]
    return [*said, f"listeners hear {old}, until {new} publishes"]


@with_client
def token(  # noqa: PLR0913 - each argument is an option of the command
    client: Client,
    out: Out,
    room: Annotated[str, typer.Argument(metavar="ROOM")],
    user: Annotated[str, typer.Option("--user", help="the user's id")],
    role: Annotated[str, typer.Option("--role", help="host or listener")],
    ttl: Annotated[str, typer.Option("--ttl", help="such as 90s, 30m, 1h; 24h at most")] = "1h",
    grant: Annotated[
        list[str] | None,
        typer.Option("--grant", help="what a host may besides: air (as it is), moderate"),
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="the studio's address with it")] = False,
) -> None:
    """A JWT for a host or a listener. Prints the bare token, so that $(…) can take it."""
    if link and role != "host":
        raise typer.BadParameter("--link is for hosts; listeners open /listen/ROOM without a token")
    body: dict[str, Any] = {"userId": user, "role": role, "ttlSeconds": seconds(ttl)}
    body |= {"grants": grant} if grant else {}
    made = client.call("POST", f"/api/rooms/{room}/tokens", body)
    page = f"{client.url}/studio/{room}?token={made['token']}"
    out.show(made, page if link else str(made["token"]))


@app.command()
@with_client
def revoke(
    client: Client,
    out: Out,
    room: Annotated[str, typer.Argument(metavar="ROOM")],
    user: Annotated[str, typer.Option("--user", help="whose tokens are void from now on")],
) -> None:
    """Take back every token that a user has for a room; who is connected with one is put out."""
    client.call("POST", f"/api/rooms/{room}/revocations", {"userId": user})
    out.show({"userId": user}, f"{user}'s tokens for {room} are void")


def seconds(text: str) -> int:
    """
    >>> seconds("90"), seconds("30m"), seconds("1h")
    (90, 1800, 3600)
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; give one such as 90s, 30m, 1h, 7d")
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def every_room(client: Client) -> list[dict[str, Any]]:
    rooms: list[dict[str, Any]] = []
    query = {"limit": PAGE}
    while True:
        page = client.call("GET", "/api/rooms", **query)
        rooms += page["rooms"]
        if not page.get("nextCursor"):
            return rooms
        query["cursor"] = page["nextCursor"]


def table(rooms: list[dict[str, Any]]) -> Table | Text:
    if not rooms:
        return Text("no rooms yet; make one: ./onair rooms create ID")
    shown = Table("ROOM", "STATUS", "JANUS", "MIXER", "EPOCH", "PIN", box=None, pad_edge=False)
    for room in rooms:
        shown.add_row(
            room["roomId"],
            status(room),
            (room.get("janus") or {}).get("moduleId", "-"),
            (room.get("mixer") or {}).get("moduleId", "-"),
            str(room.get("epoch") or "-"),
            "yes" if room.get("hasPin") else "no",
        )
    return shown


def describe(room: dict[str, Any]) -> Text:
    return Text.assemble(room["roomId"], "  ", status(room), "  ", room["hlsUrl"])


def status(room: dict[str, Any]) -> Text:
    return Text(room["status"], STATUS_COLOURS.get(room["status"], ""))


def _watch(client: Client, out: Out) -> NoReturn:
    with Live(console=out.console, auto_refresh=False) as live:
        while True:
            live.update(table(every_room(client)), refresh=True)
            time.sleep(WATCH_SECONDS)
