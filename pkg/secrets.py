"""What is derived from the master secret, so that nothing secret is stored in etcd or on a disk.

HKDF with SHA-256 (RFC 5869), one ``info`` per purpose. Callers: room manager and mixer
(``hls_key``), Janus manager and gateway (``host_pin``, ``room_secret``), whoever issues or
verifies tokens (``token_key``, ``key_id``).

>>> hls_key(b"m" * 32, "blue", "n1") == hls_key(b"m" * 32, "blue", "n1")
True
>>> hls_key(b"m" * 32, "blue", "n1") == hls_key(b"m" * 32, "blue", "n2")
False
>>> len(hls_key(b"m" * 32, "blue", "n1")), len(host_pin(b"m" * 32, "blue", 7))
(16, 32)
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_BYTES = 32
TOKEN_KEY_BYTES = 32


def _derive(master: bytes, info: str, length: int) -> bytes:
    return HKDF(SHA256(), length=length, salt=None, info=info.encode()).derive(master)


def hls_key(master: bytes, room_id: str, nonce: str) -> bytes:
    """The AES-128 key of one start of a room, 16 bytes (RFC 8216 §4.3.2.4)."""
    return _derive(master, f"onair/hls/{room_id}/{nonce}", 16)


def host_pin(master: bytes, room_id: str, janus_epoch: int) -> str:
    """The AudioBridge pin that a host's join needs; never shown to clients of the gateway."""
    return _derive(master, f"onair/pin/{room_id}/{janus_epoch}", 16).hex()


def room_secret(master: bytes, room_id: str, janus_epoch: int) -> str:
    """The AudioBridge secret that edit, destroy and forward requests need."""
    return _derive(master, f"onair/secret/{room_id}/{janus_epoch}", 16).hex()


def token_key(secret: bytes) -> bytes:
    """The HMAC key of host and listener tokens, 32 bytes (RFC 7518 §3.2).

    Derived alike from a token secret and from the master: who begins to use token secrets names
    the master's file as the last of them for a day, and no token becomes void.
    """
    return _derive(secret, "onair/tokens", TOKEN_KEY_BYTES)


def key_id(key: bytes) -> str:
    """Names a token key in tokens (RFC 7515 §4.1.4), and tells nothing of it.

    >>> key_id(token_key(b"m" * 32)) == key_id(token_key(b"x" * 32)), len(key_id(b"k" * 32))
    (False, 16)
    """
    return _derive(key, "onair/kid", 8).hex()
