"""One per Janus: makes that Janus match its assignments."""
