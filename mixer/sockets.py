"""What the kernel tells of UDP sockets (Linux): RTP that waits at a port as nobody reads it."""

from collections.abc import Iterable

TABLES = ("/proc/net/udp", "/proc/net/udp6")


def unread(port: int) -> int:
    """Bytes that wait at a port of this machine, with the kernel's overhead; 0 if nobody has it."""
    return sum(waiting(_lines(table), port) for table in TABLES)


def waiting(lines: Iterable[str], port: int) -> int:
    """The receive queues of all sockets on ``port``, from the lines of such a table (proc(5)).

    >>> head = "sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
    >>> waiting([head, "7: 0100007F:7530 00000000:0000 07 00000000:00034A00 00:00000000"], 30000)
    215552
    """
    ending, total = f":{port:04X}", 0
    for line in lines:
        fields = line.split()
        if len(fields) > 4 and fields[1].endswith(ending):
            total += int(fields[4].rpartition(":")[2], 16)
    return total


def _lines(table: str) -> list[str]:
    try:
        with open(table) as file:
            return file.readlines()
    except FileNotFoundError:  # no IPv6 here
        return []
