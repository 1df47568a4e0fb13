<?php
// Fires one signed postback (scheme `body`). Nothing but PHP 8 is needed.
//
//     POSTBACK_KEY=pbk_… POSTBACK_SECRET=whsec_… \
//         php fire.php https://track.example.com '{"click_id": "…", "event_id": "reg-1001", "goal": "lead"}'

/** One try: the status (0 where nobody answered) and the answer. */
function send(string $url, string $key, string $secret, string $body): array
{
    $t = time(); // signed anew for each try: a signature is good for five minutes
    $v1 = hash_hmac('sha256', "$t.$body", $secret);
    $headers = ["X-Api-Key: $key", 'Content-Type: application/json', "X-Signature: t=$t,v1=$v1"];
    $options = ['method' => 'POST', 'header' => $headers, 'content' => $body, 'timeout' => 10, 'ignore_errors' => true];
    $answer = @file_get_contents($url, false, stream_context_create(['http' => $options]));
    if ($answer === false) {
        return [0, null];
    }
    return [(int) explode(' ', $http_response_header[0])[1], json_decode($answer, true)];
}

[$status, $answer] = send("$argv[1]/v1/postbacks", getenv('POSTBACK_KEY'), getenv('POSTBACK_SECRET'), $argv[2]);
// 0, 408, 429 and 5xx: keep the event and send the same again later. Anything else is a verdict.
echo $status, ' ', json_encode($answer), "\n";
