"""The ./onair command: supervisor, REST client, doctor."""
