"""The WebSocket gateway: hosts' signalling between browsers and the right Janus (contract.md §4)."""
