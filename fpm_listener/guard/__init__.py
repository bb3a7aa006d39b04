"""The guard: the program before php-fpm in `command=`.

Waits until php-fpm's addresses are free, or takes over held sockets, then becomes php-fpm.
It imports little, because it runs before every start.
Start with `guard`; `fast_start` is the path where nothing has changed.
"""
