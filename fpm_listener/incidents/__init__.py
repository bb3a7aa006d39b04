"""One problem of one process, from first to last.

Pure: decides when an incident opens, changes and is resolved, and contains its texts.
It sends nothing and reads no clock.
Start with `tracker`, then `incident` and `failure_history`.
"""
