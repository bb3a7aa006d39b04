"""What the listener knows, rendered: JSON, terminal, page, metrics.

Reads one frozen snapshot. It looks nothing up and changes nothing.
Start with `snapshot`, then `document`.
"""
