"""One module for each kind of receiver, and what they share.

Each composes the requests of one service and classifies its responses. Queues are elsewhere.
Start with `webhook`; `http` sends one POST.
"""
