"""Janus over a WebSocket, as the Janus manager (admin API) and the gateway (sessions) share it."""
