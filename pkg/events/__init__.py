"""What happened to the rooms, told to their streams (docs/events.md). Never in a room's way."""
