"""How long what people ask, and what the service's own tasks ask, takes on a database that growth_fill.py filled.

    python3 scripts/growth_probe.py PROGRAM --data DIR [--database-url URL] [--times 30]

People ask over HTTP. The tasks' queries are those of src/store/queries, shortened by what is not theirs to decide here, and
timed by the engine. Prints a line of JSON: for each question the first answer's time, which nothing had warmed up, and the median and the
largest of the others, in microseconds; of a query also how it is answered.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from growth_service import Service, environment  # noqa: E402

LISTS = [
    "/readyz",
    "/v1/admin/conversions",
    "/v1/admin/conversions?affiliate_id={affiliate}",
    "/v1/admin/conversions?status=pending",
    "/v1/admin/conversions?status=hold",
    "/v1/admin/conversions?event_id={event}",
    "/v1/admin/conversions?click_id={click}",
    "/v1/admin/receipts",
    "/v1/admin/receipts?verdict=rejected",
    "/v1/admin/receipts?verdict=parked",
    "/v1/admin/deliveries",
    "/v1/admin/deliveries?state=pending",
    "/v1/admin/deliveries?state=dead",
    "/v1/admin/deliveries?endpoint_id={endpoint}",
    "/v1/admin/commissions",
    "/v1/admin/commissions?state=available",
    "/v1/admin/commissions?state=stated",
    "/v1/admin/commissions?state=paid",
    "/v1/admin/commissions?state=reversed",
    "/v1/admin/commissions?affiliate_id={affiliate}",
    "/v1/admin/commissions?affiliate_id={affiliate}&state=available",
    "/v1/admin/payouts",
    "/v1/admin/alerts",
]
# `now`, `old` and `id:…` stand for values in the engine's own form.
TASKS = {
    "alerts: backlog": "SELECT count(CASE WHEN d.first_due_at < {now} THEN 1 END), min(d.first_due_at) FROM deliveries d "
                       "JOIN endpoints e ON e.id = d.endpoint_id WHERE d.state = 'pending' AND e.status = 'active'",
    "alerts: dead deliveries": "SELECT count(*) FROM deliveries d WHERE d.state = 'dead' AND NOT EXISTS (SELECT 1 FROM "
                               "delivery_acknowledgements a WHERE a.delivery_id = d.id AND a.epoch = d.epoch)",
    "alerts: silent sources": "SELECT s.id, h.heard_at FROM sources s JOIN sources_heard h ON h.source_id = s.id WHERE s.status = 'active' "
                              "AND NOT s.test AND h.heard_at < {now} ORDER BY s.id LIMIT 100",
    "alerts: stuck payouts": "SELECT count(*) FROM payouts WHERE state NOT IN ('completed', 'returned', 'canceled') AND updated_at < {now}",
    "delivery: due endpoints": "SELECT e.id FROM endpoints e WHERE e.status = 'active' AND EXISTS (SELECT 1 FROM deliveries d WHERE "
                               "d.endpoint_id = e.id AND d.state = 'pending' AND d.next_attempt_at <= {now} AND d.republish_at <= {now} "
                               "AND d.lease_id IS NULL)",
    "delivery: an endpoint's next": "SELECT id FROM deliveries WHERE endpoint_id = {endpoint} AND state = 'pending' AND lease_id IS NULL "
                                    "AND next_attempt_at <= {now} ORDER BY next_attempt_at LIMIT 64",
    "delivery: leases that ran out": "SELECT id FROM deliveries WHERE state = 'pending' AND republish_at <= {now} AND lease_id IS NOT NULL "
                                     "AND lease_until <= {now} ORDER BY republish_at LIMIT 500",
    "delivery: to be held": "SELECT d.id FROM endpoints e JOIN deliveries d ON d.endpoint_id = e.id WHERE e.status <> 'active' "
                            "AND d.state = 'pending' AND d.lease_id IS NULL LIMIT 500",
    "delivery: anything held": "SELECT id FROM deliveries WHERE state = 'held' LIMIT 1",
    "intake: holds that are over": "SELECT id FROM conversions WHERE hold_until <= {now} ORDER BY hold_until, id LIMIT 100",
    "intake: parked for too long": "SELECT receipt_id FROM parked WHERE expires_at <= {now} ORDER BY expires_at LIMIT 100",
    "intake: locks that are over": "SELECT c.id FROM commissions c JOIN conversions s ON s.id = c.conversion_id WHERE c.state = 'on_hold' "
                                   "AND c.hold_until <= {now} ORDER BY c.hold_until LIMIT 100",
    "intake: rates that arrived": "SELECT c.conversion_id FROM commissions c JOIN conversions s ON s.id = c.conversion_id WHERE "
                                  "c.currency = 'USD' AND c.awaits = 'EUR' AND c.state = 'awaiting_fx' ORDER BY c.conversion_id LIMIT 100",
    "retention: requests": "SELECT id FROM receipts WHERE id > {first} AND id < {latest} ORDER BY id LIMIT 500",
    "retention: events": "SELECT id FROM events WHERE id > {first} AND id < {latest} ORDER BY id LIMIT 500",
    "payouts: what falls due": "SELECT * FROM payout_terms WHERE enabled AND next_due_at <= {now} ORDER BY next_due_at LIMIT 100",
    "payouts: what an affiliate is owed":
        "SELECT e.id, c.id, c.operator_id, -e.amount FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id "
        "JOIN commissions c ON c.id = t.commission_id WHERE e.account = {account} AND e.account LIKE '%:payable' AND e.currency = 'EUR' "
        "AND NOT EXISTS (SELECT 1 FROM payout_items i WHERE i.entry_id = e.id AND i.released_at IS NULL) ORDER BY e.id",
}


def summary(micros):
    first, *others = micros
    return {"first_micros": round(first), "median_micros": round(statistics.median(others)), "largest_micros": round(max(others))}


def postgres(url, text):
    done = subprocess.run(["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1", "-f", "-", url],
                          input="SET jit = off;\n" + text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{text}: {done.stderr.strip()}")
    return done.stdout.strip()


def nodes(plan):
    """The scans of a plan, with how many rows each threw away."""
    if "Relation Name" in plan or "Index Name" in plan:
        removed = plan.get("Rows Removed by Filter", 0) * plan.get("Actual Loops", 1)
        yield f"{plan['Node Type']} {plan.get('Index Name') or plan.get('Relation Name')}" + (f" (-{removed})" if removed else "")
    for child in plan.get("Plans", []):
        yield from nodes(child)


def task_postgres(url, sql, times):
    micros, how = [], ""
    for _ in range(times):
        plan = json.loads(postgres(url, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql};"))[0]
        micros.append(plan["Execution Time"] * 1000)
        buffers = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        how = f"{buffers} pages: " + ", ".join(nodes(plan["Plan"]))
    return summary(micros) | {"how": how}


def task_sqlite(raw, sql, times):
    micros = []
    for _ in range(times):
        began = time.perf_counter()
        raw.execute(sql).fetchall()
        micros.append((time.perf_counter() - began) * 1e6)
    return summary(micros) | {"how": ", ".join(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}"))}


def ask(client, path, times):
    micros = []
    for _ in range(times):
        began = time.perf_counter()
        status, _, text = client.ask("GET", path)
        micros.append((time.perf_counter() - began) * 1e6)
        if status != 200:
            return {"refused": f"{status} after {micros[-1] / 1e6:.1f} s: {text.decode(errors='replace')[:200]}"}
    return summary(micros)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program")
    parser.add_argument("--data", required=True)
    parser.add_argument("--database-url")
    parser.add_argument("--times", type=int, default=30)
    asked = parser.parse_args()
    settings = environment(asked.database_url, os.path.abspath(asked.data))
    lists, tasks = {}, {}
    with Service(asked.program, settings) as service:
        admin = service.admin()
        some = admin.json("GET", "/v1/admin/conversions?limit=200")["items"][-1]
        delivery = admin.json("GET", "/v1/admin/deliveries?limit=1")["items"][0]
        affiliate = admin.json("GET", "/v1/admin/payouts?limit=1")["items"][0]["affiliate_id"]
        of = {"affiliate": affiliate, "event": some["event_id"], "click": some["click_id"], "endpoint": delivery["endpoint_id"]}
        for path in LISTS:
            lists[path] = ask(admin, path.format(**of), asked.times)
            print(f"growth: {path}: {lists[path]}", file=sys.stderr)
    seconds = int(time.time())
    endpoint = delivery["endpoint_id"].split("_")[1]
    latest = f"{(seconds - 100 * 86_400) * 1000:012x}".ljust(32, "0")
    if asked.database_url:
        values = {"now": f"to_timestamp({seconds})", "first": f"'{'0' * 32}'::uuid", "latest": f"'{latest}'::uuid", "endpoint": f"'{endpoint}'::uuid"}
        task = lambda sql: task_postgres(asked.database_url, sql, asked.times)
    else:
        values = {"now": f"{seconds * 1_000_000}", "first": f"x'{'0' * 32}'", "latest": f"x'{latest}'", "endpoint": f"x'{endpoint}'"}
        raw = sqlite3.connect(os.path.join(asked.data, "postback.sqlite"))
        task = lambda sql: task_sqlite(raw, sql, asked.times)
    values["account"] = f"'affiliate:{affiliate}:payable'"
    for name, sql in TASKS.items():
        tasks[name] = task(sql.format(**values))
        print(f"growth: {name}: {tasks[name]}", file=sys.stderr)
    print(json.dumps({"run": "probe", "engine": "postgres" if asked.database_url else "sqlite", "lists": lists, "tasks": tasks, "green": True}))


if __name__ == "__main__":
    main()
