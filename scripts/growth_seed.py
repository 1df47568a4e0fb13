"""Real rows: a service takes in postbacks, tells subscribers and pays affiliates, so that growth_fill.py has something true
to multiply. Prints the id of the source that everything came through.

    python3 scripts/growth_seed.py PROGRAM --data DIR [--database-url URL] [--conversions 10000] [--affiliates 100]

Of a hundred conversions 85 are approved at once, ten later, two are refused after a while, one stays pending, two are taken
back; two postbacks in a hundred come twice and one is refused. Every affiliate has one link, one webhook and, at the end, one completed payout.
Needs a database that is migrated and empty, or not there yet.
"""

import argparse
import concurrent.futures
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from growth_service import Client, Service, environment  # noqa: E402

CONNECTIONS = 16
BODY_BYTES = 450
QUIET_SECONDS = 120


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes whatever it is told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class World:
    """One operator, one program, many affiliates."""

    def __init__(self, admin, affiliates, port):
        operator = admin.json("POST", "/v1/admin/operators", {"name": "Growth"})
        self.source_id = operator["canonical_source"]["id"]
        plan = admin.json("POST", "/v1/admin/plans", {"operator_id": operator["id"], "name": "Growth"})
        terms = {"model": "fixed", "rates": [{"goal": "sale", "amount": "12.50", "currency": "EUR"}]}
        version = {"terms": terms, "valid_from": "2020-01-01T00:00:00Z"}
        admin.json("POST", f"/v1/admin/plans/{plan['id']}/versions", version)
        program = {
            "operator_id": operator["id"], "name": "Growth", "currency": "EUR", "default_plan_id": plan["id"],
            "destination_url": "https://operator.example/landing?click_id={click_id}",
        }
        program = admin.json("POST", "/v1/admin/programs", program)
        admin.json("POST", "/v1/admin/goals", {"program_id": program["id"], "name": "sale", "policy": "many"})
        key = {"name": "Growth", "role": "operator", "source_id": self.source_id, "rate_per_minute": 100_000_000}
        self.key = admin.json("POST", "/v1/admin/keys", key)["key"]
        self.affiliates, self.links = [], []
        for number in range(affiliates):
            affiliate = admin.json("POST", "/v1/admin/affiliates", {"name": f"Growth {number}"})["id"]
            link = {"program_id": program["id"], "affiliate_id": affiliate}
            self.links.append(admin.json("POST", "/v1/admin/links", link)["code"])
            endpoint = {"affiliate_id": affiliate, "url": f"http://127.0.0.1:{port}/hook", "event_types": ["commission.approved"]}
            admin.json("POST", "/v1/admin/endpoints", endpoint)
            self.affiliates.append(affiliate)


def statuses(number):
    """What the operator says of a conversion, one after the other."""
    kind = int(hashlib.md5(f"kind {number}".encode()).hexdigest(), 16) % 100
    if kind < 85:
        return ["approved"]
    if kind < 95:
        return ["pending", "approved"]
    if kind < 97:
        return ["pending", "rejected"]
    return ["pending"] if kind == 97 else ["approved", "reversed"]


def body(number, click, status, goal="sale"):
    cents = 100 + number * 37 % 90_000
    said = {
        "click_id": click, "event_id": hashlib.md5(f"growth {number}".encode()).hexdigest(), "goal": goal,
        "status": status, "amount": f"{cents // 100}.{cents % 100:02}", "currency": "EUR", "sub1": f"campaign-{number % 97}",
        "sub2": "banner-728x90", "sub3": "landing-page-b", "sub4": "de", "sub5": "",
    }
    said["sub5"] = "0123456789abcdefghijklmnopqrstuvwxyz" * 9
    text = json.dumps(said, separators=(",", ":"))
    said["sub5"] = said["sub5"][: len(said["sub5"]) - (len(text) - BODY_BYTES)]
    return json.dumps(said, separators=(",", ":")).encode()


class Sender(threading.local):
    """The connections of a thread."""

    def __init__(self, address, key):
        self.operator, self.visitor = Client(address, key), Client(address, None)

    def story(self, number, link):
        _, headers, _ = self.visitor.ask("GET", f"/c/{link}?sub1=visit")
        click = headers["Location"].split("click_id=")[1]
        for status in statuses(number):
            self.operator.json("POST", "/v1/postbacks", body(number, click, status))
        if number % 50 == 0:
            self.operator.json("POST", "/v1/postbacks", body(number, click, statuses(number)[-1]))
        if number % 100 == 99:
            status, _, text = self.operator.ask("POST", "/v1/postbacks", body(number, click, "approved", "no such goal"))
            if not 400 <= status < 500:
                raise SystemExit(f"an unknown goal was answered {status}: {text}")


def pay(maker, approver, affiliate):
    """One payout of all that is owed, brought to its end."""
    wish = {"affiliate_id": affiliate, "currency": "EUR"}
    payout = maker.json("POST", "/v1/admin/payouts", wish, Idempotency_Key=f"growth-{affiliate}")
    steps = {"pending_approval": ("approve", {}), "approved": ("send", {"reference": affiliate}), "sent": ("complete", {})}
    while payout["state"] in steps:
        step, said = steps[payout["state"]]
        payout = approver.json("POST", f"/v1/admin/payouts/{payout['id']}/{step}", said)
    if payout["state"] != "completed":
        raise SystemExit(f"a payout is {payout['state']}")


def await_quiet(admin):
    """Until every delivery was told."""
    deadline = time.monotonic() + QUIET_SECONDS
    while admin.json("GET", "/v1/admin/deliveries?state=pending&limit=1")["items"]:
        if time.monotonic() > deadline:
            raise SystemExit("deliveries are still pending")
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program")
    parser.add_argument("--data", required=True, help="the service's folder")
    parser.add_argument("--database-url", help="PostgreSQL; SQLite in the folder otherwise")
    parser.add_argument("--conversions", type=int, default=10_000)
    parser.add_argument("--affiliates", type=int, default=100)
    asked = parser.parse_args()
    settings = environment(asked.database_url, os.path.abspath(asked.data))
    receiver = Server(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with Service(asked.program, settings) as service:
        admin = service.admin()
        world = World(admin, asked.affiliates, receiver.server_address[1])
        sender = Sender(service.address, world.key)
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            link = lambda number: world.links[number % len(world.links)]
            for _ in pool.map(lambda number: sender.story(number, link(number)), range(asked.conversions)):
                pass
        await_quiet(admin)
        made = [asked.program, "keys", "create", "--role", "admin", "--name", "approver"]
        key = subprocess.run(made, env=settings, check=True, capture_output=True, text=True).stdout.strip()
        for affiliate in world.affiliates:
            pay(admin, Client(service.address, key), affiliate)
    print(world.source_id)


if __name__ == "__main__":
    main()
