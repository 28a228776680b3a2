"""Subscriptions: durable cursors that wake workers when streams have news (PROTOCOL.md §6, §7)."""
