"""The listener process: threads, files and effects around the engine.

The main thread owns all state. Threads send it frozen values through the inbox.
It has no policy: decisions are in `monitor`, `incidents` and `delivery`.
Start with `daemon` (the main loop), then `engine_runner`, `services` and `persistence`.
"""
