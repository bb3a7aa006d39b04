<?php
// Prints the numbers of OPcache for fpm-listener, and no path of any script.
// The namespace makes PHP look up each function at each call. All pools share this compiled script,
// and the direct call of a function that only one pool disables crashes its worker (php 8.2).
namespace FpmListener;

try {
    // A web server never sends this parameter: the headers of its clients begin with HTTP_.
    if (($_SERVER['FPM_LISTENER_OPCACHE'] ?? getenv('FPM_LISTENER_OPCACHE')) !== '1') {
        http_response_code(404);
        return;
    }
    $callable = function_exists('opcache_get_status');
    $status = $callable ? @opcache_get_status(false) : null;
    $wanted = ['opcache_enabled' => 1, 'file_cache_only' => 1, 'cache_full' => 1, 'memory_usage' => 1,
        'opcache_statistics' => 1, 'interned_strings_usage' => 1, 'jit' => 1];
    echo "\nfpm-listener-opcache ", json_encode([
        'loaded' => extension_loaded('Zend OPcache'),
        'callable' => $callable,
        'restricted' => (string) ini_get('opcache.restrict_api') !== '',
        'status' => is_array($status) ? array_intersect_key($status, $wanted) : null,
    ], JSON_PARTIAL_OUTPUT_ON_ERROR), "\n";
} catch (\Throwable $error) {
    echo "\nfpm-listener-opcache {\"failed\":true}\n";
}
