"""Alerts on their way to the receivers: queues, outbox, senders.

An alert is deleted only after its receiver accepted it.
Start with `outbox`, then `receiver_queue` (decides) and `sender` (sends).
"""
