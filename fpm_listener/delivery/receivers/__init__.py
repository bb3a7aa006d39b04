"""One module for each kind of receiver, and what they share.

Each makes the requests of one service and judges its answers. Queues and retries are elsewhere.
Start with `webhook`; `http` sends one POST.
"""
