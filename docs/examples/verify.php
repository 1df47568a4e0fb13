<?php
// Receives webhooks of postback and believes only what verifies. Nothing but PHP 8 is needed.
//
//     WEBHOOK_SECRET=whsec_… php -S 127.0.0.1:9911 verify.php

function verified(string $secret, string $id, string $timestamp, string $signatures, string $body): bool
{
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
        return false; // too old, too new, or no time at all
    }
    $key = base64_decode(substr($secret, strlen('whsec_')), true) ?: throw new RuntimeException('not a secret');
    $expected = base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    foreach (explode(' ', $signatures) as $signature) { // two while a secret is rotated
        if (hash_equals("v1,$expected", $signature)) {
            return true;
        }
    }
    return false;
}

$body = file_get_contents('php://input'); // the bytes as they came
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
$signatures = $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '';
$secret = getenv('WEBHOOK_SECRET') ?: throw new RuntimeException('WEBHOOK_SECRET is not set');
if (!verified($secret, $id, $timestamp, $signatures, $body)) {
    http_response_code(400);
    error_log('refused');
    exit;
}
$event = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
// Here: insert $id into a table where it is unique; if it was there, all is done already.
error_log("verified $id {$event['type']}");
http_response_code(204);
