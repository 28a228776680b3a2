"""The one door to grpc and to the protobuf stubs that aetcd ships; only its siblings enter.

grpc's fork handlers kill children between fork and exec (facts.md: 34-44 of 200 with a
``preexec_fn``), so they are switched off here, before grpc is imported for the first time.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # noqa: TID251 grpc reads it on import

import grpc
import grpc.aio
from aetcd import rpc as pb

__all__ = ["grpc", "pb"]
