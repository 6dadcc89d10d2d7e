"""HTTP/1.1: the JSON gateway, version, health and metrics."""
