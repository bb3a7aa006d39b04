"""supervisord: its configuration, its events, its XML-RPC.

Speaks supervisord's formats and protocols. It does not know what an incident is.
Start with `protocol` and `events` (what supervisord sends), then `rpc`.
"""
