"""What happens to the supervised processes, and what to do about it.

Pure: `Engine.step(now, input)` returns effects. No clock, file, thread or log.
Start with `engine` (routing), then `process_monitor` (one process).
"""
