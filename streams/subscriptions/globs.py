"""Which streams a pattern means (§6.2), and how paths inside bodies are spelt."""

from urllib.parse import quote, unquote

from streams.protocol import paths
from streams.subscriptions.refusals import invalid

ANY, ANY_DEPTH = "*", "**"
MAX_PATH = paths.MAX_BYTES


def matches(pattern: str, path: str) -> bool:
    """``*`` is one segment, ``**`` any number of them; takes pattern times path steps at most.

    >>> matches("events/*", "events/a"), matches("events/*", "events/a/b")
    (True, False)
    >>> matches("a/**", "a"), matches("a/**", "a/b/c"), matches("**/c", "a/b/c")
    (True, True, True)
    >>> matches("**/b/**/d", "b/x/b/c/d"), matches("**/b/*", "b/x/y"), matches("*", "")
    (True, False, True)
    """
    wanted, given = pattern.split("/"), path.split("/")
    here = at = 0
    deep, resume = -1, 0
    while here < len(given):
        if at < len(wanted) and wanted[at] == ANY_DEPTH:
            deep, resume = at, here
            at += 1
        elif at < len(wanted) and wanted[at] in {ANY, given[here]}:
            here, at = here + 1, at + 1
        elif deep >= 0:  # the last ** takes one segment more
            resume += 1
            here, at = resume, deep + 1
        else:
            return False
    return all(one == ANY_DEPTH for one in wanted[at:])


def path(text: str) -> str:
    """A stream's name as the store has it. Raises Denied.

    >>> path("/events/%61"), path("a b")
    ('events/a', 'a%20b')
    """
    found = paths.name(paths.ROOT + quote(text.strip("/"), safe="/%"))
    if found is None or len(found) > MAX_PATH or found.partition("/")[0] == paths.RESERVED:
        raise invalid(f"{text[:100]!r} names no stream")
    return found


def pattern(text: str) -> str:
    """Spelt as names are, so that segments compare as text. Raises Denied.

    >>> pattern("/rooms/*/caf%c3%a9/**")
    'rooms/*/caf%C3%A9/**'
    """
    segments = text.strip("/").split("/")
    if len(text) > MAX_PATH or "" in segments:
        raise invalid("pattern is no path with * and ** in it")
    return "/".join([_segment(one) for one in segments])


def _segment(text: str) -> str:
    return text if text in {ANY, ANY_DEPTH} else path(quote(unquote(text), safe=""))
