"""The WebSocket gateway: hosts' signalling, browser to Janus and back (contract.md §4)."""
