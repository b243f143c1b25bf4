"""What runs inside the recorded process: shims for clients, the recorder, the journal's writer. Light."""
