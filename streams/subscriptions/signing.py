"""The server's own key: webhooks are signed with it, tokens of wakes are derived from it.

``DIR/signing.key`` holds seeds, 64 hex digits a line, readable by the owner only. The first signs;
all are published, so that a key is changed by putting a new line first and taking the old one
away a day later. It never leaves the folder, nor do tokens reach the log.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pkg.errors import ConfigError
from streams.subscriptions.refusals import bad_token
from streams.wal.segments import sync_folder

FILE = "signing.key"
SEED_BYTES = 32
TOKEN_SECONDS = 24 * 3600
MAX_TOKEN = 4096
_PURPOSE = b"onair/streams/wake-tokens"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a valid token says: a wake's worker of this subscription, in this generation."""

    name: str
    generation: int


class Signing:
    """``open_signing`` makes one."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seeds[0])
        self._jwks = [_jwk(seed) for seed in seeds]
        self._token_keys = [hmac.digest(seed, _PURPOSE, "sha256") for seed in seeds]

    @property
    def kid(self) -> str:
        return self._jwks[0]["kid"]

    def jwks(self) -> dict[str, Any]:
        """§6.5."""
        return {"keys": self._jwks}

    def signature(self, body: bytes, now: float) -> str:
        """The header of a webhook (§7.1); ``now`` in Unix seconds."""
        signed = self._key.sign(f"{int(now)}.".encode() + body)
        return f"t={int(now)},kid={self.kid},ed25519={_base64(signed)}"

    def token(self, claim: Claim, now: float) -> str:
        claims = {
            "sub": f"subscription:{claim.name}",
            "generation": claim.generation,
            "exp": int(now) + TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._token_keys[0], "HS256")

    def read(self, token: str, now: float) -> Claim:
        """Raises Denied 401."""
        for key in self._token_keys if len(token) <= MAX_TOKEN else ():
            with suppress(jwt.InvalidTokenError):
                return _claim(_decoded(token, key), now)
        raise bad_token("the token is not one of this server")


def _decoded(token: str, key: bytes) -> dict[str, Any]:
    """``exp`` is judged by the clock that set it, not by PyJWT's."""
    options = {"require": ["sub", "exp", "generation"], "verify_exp": False}
    found: dict[str, Any] = jwt.decode(token, key, algorithms=["HS256"], options=options)  # type: ignore[arg-type]
    return found


def _claim(claims: dict[str, Any], now: float) -> Claim:
    """What we signed has the form we gave it."""
    if now >= claims["exp"]:
        raise bad_token("the token is over", "TOKEN_EXPIRED")
    return Claim(claims["sub"].partition(":")[2], claims["generation"])


def _jwk(seed: bytes) -> dict[str, str]:
    """The public half, named by its thumbprint (RFC 7638)."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    named = {"crv": "Ed25519", "kty": "OKP", "x": _base64(public)}
    thumbprint = json.dumps(named, separators=(",", ":"), sort_keys=True).encode()
    kid = f"ds_{_base64(hashlib.sha256(thumbprint).digest())}"
    return {**named, "kid": kid, "use": "sig", "alg": "EdDSA"}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def open_signing(folder: Path) -> Signing:
    """Made when there is none. Blocks. Raises ConfigError, OSError."""
    path = folder / FILE
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} is a secret, and others may read it: chmod 600 {path}")
    lines = path.read_text().split()
    try:
        seeds = [bytes.fromhex(line) for line in lines]
    except ValueError:
        seeds = []
    if not seeds or any(len(seed) != SEED_BYTES for seed in seeds):
        raise ConfigError(f"{path}: each line is {2 * SEED_BYTES} hex digits")
    return Signing(seeds)


def _make(path: Path) -> None:
    """Whole or not at all, whenever the power fails."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(SEED_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
