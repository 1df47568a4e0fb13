"""Receives webhooks of postback and believes only what verifies.

    pip install --requirement requirements.txt
    WEBHOOK_SECRET=whsec_… python3 verify.py 9911
"""

import http.server
import os
import sys

from standardwebhooks import Webhook

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen = set()  # in earnest a unique column, filled in the transaction that does the work


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        # The bytes as they came: parsed and written again they would no longer fit the signature.
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            event = webhook.verify(body, self.headers)
        except Exception as error:  # whatever it is, we do not believe the message
            return self.answer(400, f"refused: {error}")
        id = self.headers["webhook-id"]
        if id in seen:
            return self.answer(204, f"again {id}")
        seen.add(id)
        self.answer(204, f"verified {id} {event['type']}")

    def answer(self, status, line):
        print(line, flush=True)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()
