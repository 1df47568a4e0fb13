"""Fires one signed postback (scheme `body`), and again until it is known what became of it.

    POSTBACK_KEY=pbk_… POSTBACK_SECRET=whsec_… \
        python3 fire.py https://track.example.com '{"click_id": "…", "event_id": "reg-1001", "goal": "lead"}'
"""

import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request

WAITS = (1, 5, 30, 120, 600)  # seconds; in earnest the event waits in a table of yours, for a day at least


def send(url, key, secret, body):
    """One try; the status, the answer, and how long we are asked to wait."""
    t = str(int(time.time()))  # signed anew for each try: a signature is good for five minutes
    v1 = hmac.new(secret.encode(), t.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"X-Api-Key": key, "Content-Type": "application/json", "X-Signature": f"t={t},v1={v1}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return answer.status, json.load(answer), 0
    except urllib.error.HTTPError as refusal:
        wait = int(refusal.headers.get("Retry-After", 0))
        return refusal.code, json.loads(refusal.read() or b"{}"), wait
    except OSError:
        return 0, {}, 0  # no answer: stored or not, nobody knows; sending it again is harmless


def fire(url, key, secret, fields):
    body = json.dumps(fields).encode()  # made once, so that a repeat is the same
    for wait in WAITS:
        status, answer, asked = send(url, key, secret, body)
        if status not in (0, 408, 429) and status < 500:
            return status, answer  # a verdict: sending the same again would not change it
        time.sleep(max(wait, asked))
    raise TimeoutError("no verdict; keep the event and try it later")


if __name__ == "__main__":
    url, fields = sys.argv[1] + "/v1/postbacks", json.loads(sys.argv[2])
    status, answer = fire(url, os.environ["POSTBACK_KEY"], os.environ["POSTBACK_SECRET"], fields)
    print(status, json.dumps(answer))
