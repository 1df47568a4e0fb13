"""Multiplies the rows of a database that growth_seed.py made until there are so many conversions.

    python3 scripts/growth_fill.py --conversions N (--sqlite FILE | --postgres URL [--pgctl PROGRAM]) [--days 365]

What the seed wrote is one closed world: every row refers to others of it, its books balance, its affiliates are paid. It is
copied as a whole, again and again, each copy into the next slice of the past `--days`, stretched to fill it. Of a copied row
  - ids are new: a UUIDv7 whose time is that of the slice and whose random part is that of the copy. Both follow from the old
    id and the copy's number, so that whoever refers to the row refers to the new one without looking it up;
  - times are moved with the ids, to the same millisecond;
  - event ids are new random digits, in the key that tells duplicates, in the request and in the conversion; click ids are new, as
    long as ours, and like ours begin with their link and their time and end at random;
  - everything else stays, so that rows and texts are as long as the service's own.
Events with their deliveries and attempts are kept for the last 88 days, which is what the retention job leaves by its default of 90;
payouts pay what is older than 30 days. Requests are younger than the 400 days that they are kept.

The engine works set by set: one INSERT … SELECT for each table and copy. PostgreSQL fills without indexes, two tables at a time, builds the
indexes and vacuums; the index of the keys that tell duplicates is left as full as random inserts leave one (70 %). With --pgctl
the server is restarted with `wal_level = minimal` for the fill, and with its own settings afterwards. SQLite keeps its indexes,
with a cache that holds them. Ends with 1 where the counts are not those that must come of it.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import queue
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True

DAY_MS = 86_400_000
EVENTS_DAYS, UNPAID_DAYS = 88, 30
CACHE_KIB = 4_000_000
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

# Of each table that grows: its ids, its times, what its texts are made of, in which slices it is copied, and its order.
# A column that is not named is copied as it is.
RECENT, PAID = "recent", "paid"
TABLES = {
    "clicks": dict(times="clicked_at received_at", click="click_id", order="clicked_at"),
    "receipts": dict(ids="id request_id conversion_id", times="received_at", bodies="body", order="id"),
    "dedup_keys": dict(ids="conversion_id", key="key", order="conversion_id"),
    "conversions": dict(ids="id receipt_id", times="occurred_at received_at updated_at", click="click_id", texts="content", order="id"),
    "conversion_revisions": dict(
        ids="conversion_id receipt_id", times="occurred_at superseded_at", texts="content", order="conversion_id, revision"),
    "commissions": dict(ids="id conversion_id", times="created_at updated_at", order="id"),
    "ledger_transactions": dict(ids="id commission_id payout_id", times="posted_at", order="id", paid="payout_id IS NOT NULL"),
    "ledger_entries": dict(
        ids="id transaction_id", order="id",
        paid="transaction_id IN (SELECT id FROM ledger_transactions WHERE payout_id IS NOT NULL)"),
    "payouts": dict(ids="id", times="created_at updated_at", names="idempotency_key reference", order="id", slices=PAID),
    "payout_items": dict(ids="payout_id entry_id commission_id", order="payout_id, entry_id", slices=PAID),
    "payout_shares": dict(ids="payout_id", order="payout_id", slices=PAID),
    "payout_steps": dict(ids="payout_id", times="at", names="reference", order="payout_id, revision", slices=PAID),
    "payout_references": dict(ids="payout_id", names="reference", order="payout_id", slices=PAID),
    "events": dict(ids="id", times="created_at", told="body", order="id", slices=RECENT),
    "deliveries": dict(
        ids="id event_id", times="created_at first_due_at first_attempt_at next_attempt_at republish_at settled_at", order="id",
        slices=RECENT),
    "attempts": dict(ids="delivery_id", times="started_at finished_at", order="delivery_id, epoch, number", slices=RECENT),
}
# What may not hold rows, since it would not be copied.
EMPTY = ["receipt_verdicts", "parked", "customers", "customer_bindings", "recurrences", "delivery_acknowledgements", "replays"]
# The biggest first, so that both sessions end at about the same time.
BY_SIZE = ["receipts", "conversions", "ledger_entries", "commissions", "clicks", "dedup_keys", "events", "ledger_transactions",
           "deliveries", "payout_items", "attempts", "conversion_revisions", "payouts", "payout_steps", "payout_shares", "payout_references"]


def say(sentence):
    print(f"growth: {sentence}", file=sys.stderr, flush=True)


def named(table, kind):
    return TABLES[table].get(kind, "").split()


class Slices:
    """How the past is cut: `copies` slices of `slice_ms` from `start_ms` on; of the seed, `first_ms` and how much it is stretched."""

    def __init__(self, conversions, seeded, first_ms, last_ms, days):
        self.copies = max(1, round(conversions / seeded) - 1)
        self.slice_ms = days * DAY_MS // self.copies
        self.start_ms, self.first_ms = first_ms - self.copies * self.slice_ms, first_ms
        self.stretch = max(1, self.slice_ms // (last_ms - first_ms + 1))
        age = lambda days: self.copies - days * DAY_MS // self.slice_ms
        self.recent, self.paid = max(0, age(EVENTS_DAYS)), max(0, age(UNPAID_DAYS))

    def of(self, table):
        """The first copy of a table's rows, and the first that it has none of."""
        kind = TABLES[table].get("slices")
        return (self.recent if kind == RECENT else 0), (self.paid if kind == PAID else self.copies)

    def expected(self, table, seeded, of_paid):
        """How many rows must be there in the end: the seed's own, and the copies."""
        first, last = self.of(table)
        return seeded + (last - first) * (seeded - of_paid) + min(last, self.paid) * of_paid


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------

# Only for the template; what is computed for each copy is written out, since functions of SQL are not always inlined.
POSTGRES_FUNCTIONS = """
CREATE SCHEMA growth;
-- Milliseconds of a time, those of a UUIDv7, and those in one of our click ids, two by two (src/domain/click.rs).
CREATE FUNCTION growth.ms(at timestamptz) RETURNS bigint LANGUAGE sql AS
    'SELECT floor(extract(epoch FROM at) * 1000)::bigint';
CREATE FUNCTION growth.ms(id uuid) RETURNS bigint LANGUAGE sql AS
    $$ SELECT ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint $$;
CREATE FUNCTION growth.ms(click text) RETURNS bigint LANGUAGE sql AS $$
    SELECT sum((strpos('@ALPHABET@', substr(click, 10 + place, 1)) - 1)::bigint << (46 - 5 * place))::bigint
    FROM generate_series(1, 9) place $$;
-- The random bits behind them: twelve, and the last sixty-four with the variant.
CREATE FUNCTION growth.high(id uuid) RETURNS bigint LANGUAGE sql AS
    $$ SELECT ('x' || substr(translate(id::text, '-', ''), 14, 3))::bit(12)::bigint $$;
CREATE FUNCTION growth.low(id uuid) RETURNS bigint LANGUAGE sql AS
    $$ SELECT ('x' || right(translate(id::text, '-', ''), 16))::bit(64)::bigint $$;
""".replace("@ALPHABET@", ALPHABET)


class Postgres:
    """Everything through psql, one session for each table."""

    def __init__(self, url, pgctl):
        self.url, self.pgctl = url, pgctl

    def run(self, text, quiet=True):
        done = subprocess.run(["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1", "-f", "-", self.url],
                              input="SET client_min_messages = warning;\n" + text, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"psql failed: {done.stderr.strip()[-2000:]}")
        return done.stdout.strip()

    def ask(self, select):
        return [line.split("|") for line in self.run(select + ";").splitlines()]

    def columns(self, table):
        return [name for name, in self.ask(
            f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' AND table_schema = 'public' ORDER BY ordinal_position")]

    def tables(self):
        return {name for name, in self.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}

    def span(self):
        first, last = self.ask("SELECT floor(extract(epoch FROM min(at)) * 1000)::bigint, ceil(extract(epoch FROM max(at)) * 1000)::bigint FROM ("
                               "SELECT clicked_at AS at FROM clicks UNION ALL SELECT updated_at FROM payouts UNION ALL SELECT finished_at FROM attempts) t")[0]
        return int(first), int(last)

    def restart(self, settings):
        """With other settings for the fill, or without any of them."""
        if not self.pgctl:
            return
        for name, value in settings.items():
            self.run(f"ALTER SYSTEM SET {name} = '{value}';" if value is not None else f"ALTER SYSTEM RESET {name};")
        subprocess.run([self.pgctl, "restart", "-m", "fast", "-t", "600"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def expression(self, table, column, slices):
        """A column of a copy, and what the template needs for it: `(expression, {extra column: its SQL})`."""
        base = f"{slices.start_ms}::bigint + copy * {slices.slice_ms}::bigint"
        in_slice = lambda ms: f"({ms} - {slices.first_ms}) * {slices.stretch}"
        event = "md5(t.event_id_ || copy)"
        click = f"left(t.click_, 10) || to_hex(({base} + t.click_ms_) >> 1) || left(md5(t.click_ || copy), 20)"

        def moved_id(name, old):
            high = f"({base} + t.{name}_ms_) << 16 | 28672 | (t.{name}_high_ # (hashint8extended(copy, 1) & 4095))"
            low = f"t.{name}_low_ # (hashint8extended(copy, 2) & {(1 << 62) - 1})"
            extra = {f"{name}_ms_": in_slice(f"growth.ms({old})"), f"{name}_high_": f"growth.high({old})", f"{name}_low_": f"growth.low({old})"}
            return f"'0' || to_hex({high}) || to_hex({low})", extra

        if column in named(table, "ids"):
            moved, extra = moved_id(column, column)
            return f"({moved})::uuid", extra
        if column in named(table, "times"):
            ms = in_slice(f"growth.ms({column})")
            shifted = f"{column} + ({ms} - growth.ms({column})) * interval '1 ms'"
            return f"t.{column}_at_ + ({base}) * interval '1 ms'", {f"{column}_at_": shifted}
        if column in named(table, "click"):
            return click, {"click_": column, "click_ms_": in_slice(f"growth.ms({column})")}
        if column in named(table, "key"):
            return f"t.source_ || {event}", {"source_": "left(key, 37)", "event_id_": "substr(key, 38)"}
        if column in named(table, "bodies") + named(table, "texts"):
            said = f"convert_from({column}, 'UTF8')" if column in named(table, "bodies") else column
            click_id = f"({said}::jsonb->>'click_id')"
            extra = {"event_id_": f"{said}::jsonb->>'event_id'", "said_": said, "click_": click_id,
                     "click_ms_": in_slice(f"growth.ms({click_id})")}
            moved = f"replace(replace(t.said_, t.event_id_, {event}), t.click_, {click})"
            return (f"({moved})::bytea" if column in named(table, "bodies") else moved), extra
        if column in named(table, "names"):
            return f"t.{column} || '-' || copy", {}
        if column in named(table, "told"):
            extra, moved = {}, f"t.{column}"
            for prefix, name in (("cv_", "conversion_id"), ("com_", "commission_id")):
                old = f"substring({column} FROM '\"{name}\":\"{prefix}([0-9a-f]{{32}})\"')"
                new, parts = moved_id(name, f"{old}::uuid")
                extra |= {f"{name}_": old, **parts}
                moved = f"replace({moved}, t.{name}_, {new})"
            data = f"{column}::jsonb->'data'"
            extra |= {"event_id_": f"{data}->>'event_id'", "click_": f"{data}->>'click_id'",
                      "click_ms_": in_slice(f"growth.ms({data}->>'click_id')")}
            return f"replace(replace({moved}, t.event_id_, {event}), t.click_, {click})", extra
        return f"t.{column}", {}

    def prepare(self, slices):
        """The seed's rows with what their copies are made of, in a schema of their own; and the definitions of all indexes."""
        text = POSTGRES_FUNCTIONS
        for table in TABLES:
            extra = {"paid_": TABLES[table].get("paid", "false")}
            for column in self.columns(table):
                extra |= self.expression(table, column, slices)[1]
            columns = ", ".join(f"{sql} AS {name}" for name, sql in extra.items())
            text += f"CREATE TABLE growth.{table} AS SELECT {table}.*, {columns} FROM {table} ORDER BY {TABLES[table]['order']};\n"
            text += f"ANALYZE growth.{table};\n"
        self.run(text)

    def indexes(self, table):
        """What takes the indexes of a table away, and what makes them again."""
        drop, make = [], []
        for name, definition, constraint in self.ask(
                f"SELECT c.relname, pg_get_indexdef(i.indexrelid), coalesce(pg_get_constraintdef(k.oid), '') FROM pg_index i "
                f"JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid "
                f"WHERE i.indrelid = 'public.{table}'::regclass ORDER BY 1"):
            if constraint:
                full = " WITH (fillfactor = 70)" if name == "dedup_keys_pkey" else ""
                drop.append(f"ALTER TABLE {table} DROP CONSTRAINT {name};")
                make.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint}{full};")
                make.extend([f"ALTER INDEX {name} RESET (fillfactor);"] if full else [])
            else:
                drop.append(f"DROP INDEX {name};")
                make.append(f"{definition};")
        return "\n".join(drop), "\n".join(make)

    def fill(self, table, slices):
        began, (first, last) = time.monotonic(), slices.of(table)
        columns = self.columns(table)
        drop, make = self.indexes(table)
        moved = ", ".join(self.expression(table, column, slices)[0] for column in columns)
        names = ", ".join(columns)
        # In one transaction with the truncation, so that at wal_level = minimal the rows are written once.
        self.run(f"""
            SET session_replication_role = replica;
            SET synchronous_commit = off;
            SET work_mem = '256MB';
            SET jit = off;
            SET max_parallel_workers_per_gather = 0;
            BEGIN;
            {drop}
            TRUNCATE {table};
            DO $fill$ BEGIN
                FOR copy IN {first}..{last - 1} LOOP
                    INSERT INTO {table} ({names}) SELECT {moved} FROM growth.{table} t WHERE NOT t.paid_ OR copy < {slices.paid};
                END LOOP;
            END $fill$;
            INSERT INTO {table} ({names}) SELECT {names} FROM growth.{table};
            COMMIT;""")
        filled = time.monotonic()
        self.run(f"SET maintenance_work_mem = '1GB';\n{make}\nVACUUM (ANALYZE) {table};")
        say(f"{table}: filled in {filled - began:.0f} s, indexes and vacuum {time.monotonic() - filled:.0f} s")

    def multiply(self, slices):
        self.restart({"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off"})
        self.prepare(slices)
        waiting = queue.SimpleQueue()
        for table in BY_SIZE:
            waiting.put(table)

        def work():
            while True:
                try:
                    table = waiting.get_nowait()
                except queue.Empty:
                    return
                self.fill(table, slices)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(work), pool.submit(work)]:
                done.result()

    def end(self):
        self.run("DROP SCHEMA growth CASCADE;")
        self.run("CHECKPOINT;")
        self.restart(dict.fromkeys(["wal_level", "max_wal_senders", "shared_buffers", "max_wal_size", "autovacuum"]))

    def count(self, table, where="true"):
        return int(self.run(f"SELECT count(*) FROM {table} WHERE {where};"))

    def sizes(self):
        rows = self.ask("SELECT c.relname, c.relkind, coalesce(t.relname, ''), pg_relation_size(c.oid) FROM pg_class c "
                        "LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid "
                        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')")
        return {name: {"of": of or None, "bytes": int(size)} for name, _, of, size in rows}


# ---- SQLite ----------------------------------------------------------------------------------------------------------


class Sqlite:
    """One connection; what SQLite cannot compute about ids is computed here, for a copy at a time."""

    def __init__(self, path):
        self.path, self.copy, self.mask, self.base = path, 0, 0, 0
        self.events, self.clicks = {}, {}
        self.raw = sqlite3.connect(path, isolation_level=None)
        for name, arguments, function in (
                ("moved_id", 2, self.moved_id), ("moved_event", 1, self.moved_event), ("moved_click", 2, self.moved_click),
                ("id_ms", 1, lambda id: id and int.from_bytes(id[:6], "big")), ("id_tail", 1, lambda id: id and id[6:]),
                ("click_ms", 1, lambda click: sum(ALPHABET.index(letter) << (41 - 5 * place) for place, letter in enumerate(click[10:19]))),
                ("hex_id", 1, lambda id: id.hex()), ("from_hex", 1, lambda text: text and bytes.fromhex(text)),
                ("id_after", 2, lambda text, before: text.split(before)[1][:32] if before in text else None)):
            self.raw.create_function(name, arguments, function, deterministic=False)

    def begin_copy(self, copy, slices):
        self.copy, self.base = copy, slices.start_ms + copy * slices.slice_ms
        digest = int.from_bytes(hashlib.md5(f"copy {copy}".encode()).digest()[:10], "big")
        self.mask = digest & ~(0xF000C << 60) & ((1 << 80) - 1)  # version and variant stay
        self.events, self.clicks = {}, {}

    def moved_id(self, ms, tail):
        if tail is None:
            return None
        return (self.base + ms).to_bytes(6, "big") + (int.from_bytes(tail, "big") ^ self.mask).to_bytes(10, "big")

    def moved_event(self, event):
        if event not in self.events:
            self.events[event] = hashlib.md5(f"{event}{self.copy}".encode()).hexdigest()
        return self.events[event]

    def moved_click(self, click, ms):
        if click not in self.clicks:
            at = self.base + ms
            self.clicks[click] = f"{click[:10]}{at >> 1:x}{hashlib.md5(f'{click}{self.copy}'.encode()).hexdigest()[:20]}"
        return self.clicks[click]

    def ask(self, select):
        return self.raw.execute(select).fetchall()

    def columns(self, table):
        return [row[1] for row in self.ask(f"PRAGMA table_info({table})")]

    def tables(self):
        return {name for name, in self.ask("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")}

    def span(self):
        first, last = self.ask("SELECT min(at) / 1000, max(at) / 1000 + 1 FROM (SELECT clicked_at AS at FROM clicks UNION ALL "
                               "SELECT updated_at FROM payouts UNION ALL SELECT finished_at FROM attempts)")[0]
        return first, last

    def expression(self, table, column, slices):
        """As that of PostgreSQL. `:base` is the copy's own beginning in microseconds."""
        in_slice = lambda ms: f"({ms} - {slices.first_ms}) * {slices.stretch}"
        event, click = "moved_event(t.event_id_)", "moved_click(t.click_, t.click_ms_)"
        if column in named(table, "ids"):
            extra = {f"{column}_ms_": in_slice(f"id_ms({column})"), f"{column}_tail_": f"id_tail({column})"}
            return f"moved_id(t.{column}_ms_, t.{column}_tail_)", extra
        if column in named(table, "times"):
            return f"t.{column}_at_ + :base", {f"{column}_at_": f"{in_slice(f'({column} / 1000)')} * 1000 + {column} % 1000"}
        if column in named(table, "click"):
            return click, {"click_": column, "click_ms_": in_slice(f"click_ms({column})")}
        if column in named(table, "key"):
            return f"t.source_ || {event}", {"source_": "substr(key, 1, 37)", "event_id_": "substr(key, 38)"}
        if column in named(table, "bodies") + named(table, "texts"):
            said = f"CAST({column} AS TEXT)"
            extra = {"event_id_": f"{said} ->> '$.event_id'", "click_": f"{said} ->> '$.click_id'", "said_": said,
                     "click_ms_": in_slice(f"click_ms({said} ->> '$.click_id')")}
            moved = f"replace(replace(t.said_, t.event_id_, {event}), t.click_, {click})"
            return (f"CAST({moved} AS BLOB)" if column in named(table, "bodies") else moved), extra
        if column in named(table, "names"):
            return f"t.{column} || '-' || :copy", {}
        if column in named(table, "told"):
            click_id, moved = f"{column} ->> '$.data.click_id'", f"t.{column}"
            extra = {"event_id_": f"{column} ->> '$.data.event_id'", "click_": click_id, "click_ms_": in_slice(f"click_ms({click_id})")}
            for prefix, name in (("cv_", "conversion_id"), ("com_", "commission_id")):
                old = f"id_after({column}, '\"{name}\":\"{prefix}')"
                extra |= {f"{name}_": old, f"{name}_ms_": in_slice(f"id_ms(from_hex({old}))"), f"{name}_tail_": f"id_tail(from_hex({old}))"}
                moved = f"replace({moved}, t.{name}_, hex_id(moved_id(t.{name}_ms_, t.{name}_tail_)))"
            return f"replace(replace({moved}, t.event_id_, {event}), t.click_, {click})", extra
        return f"t.{column}", {}

    def multiply(self, slices):
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", f"cache_size = -{CACHE_KIB}",
                       "temp_store = MEMORY", "foreign_keys = OFF"):
            self.ask(f"PRAGMA {pragma}")
        began, inserts = time.monotonic(), []
        for table in BY_SIZE:
            extra, columns = {"paid_": TABLES[table].get("paid", "false")}, self.columns(table)
            for column in columns:
                extra |= self.expression(table, column, slices)[1]
            made = ", ".join(f"{sql} AS {name}" for name, sql in extra.items())
            self.ask(f"CREATE TEMP TABLE growth_{table} AS SELECT {table}.*, {made} FROM {table} ORDER BY {TABLES[table]['order']}")
            moved = ", ".join(self.expression(table, column, slices)[0] for column in columns)
            inserts.append((slices.of(table), f"INSERT INTO {table} ({', '.join(columns)}) SELECT {moved} FROM growth_{table} t "
                            f"WHERE NOT t.paid_ OR :copy < {slices.paid}"))
        self.ask("BEGIN")
        for copy in range(slices.copies):
            self.begin_copy(copy, slices)
            for (first, last), insert in inserts:
                if first <= copy < last:
                    self.raw.execute(insert, {"base": self.base * 1000, "copy": copy})
            if (copy + 1) % max(1, slices.copies // 10) == 0:
                say(f"{copy + 1} of {slices.copies} copies after {time.monotonic() - began:.0f} s")
        self.ask("COMMIT")

    def end(self):
        self.raw.close()
        subprocess.run(["sync", self.path], check=True)
        self.raw = sqlite3.connect(self.path, isolation_level=None)

    def count(self, table, where="true"):
        return self.ask(f"SELECT count(*) FROM {table} WHERE {where}")[0][0]

    def sizes(self):
        of = {name: table for name, table in self.ask("SELECT name, tbl_name FROM sqlite_master WHERE type = 'index'")}
        pages = self.ask("SELECT name, sum(pgsize) FROM dbstat WHERE aggregate = true GROUP BY name")
        return {name: {"of": of.get(name), "bytes": size} for name, size in pages if not name.startswith("sqlite_s")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--conversions", type=int, required=True)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--sqlite", metavar="FILE")
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--pgctl", metavar="PROGRAM")
    asked = parser.parse_args()
    if bool(asked.sqlite) == bool(asked.postgres):
        parser.error("either --sqlite or --postgres")
    database = Sqlite(asked.sqlite) if asked.sqlite else Postgres(asked.postgres, asked.pgctl)
    missing = set(TABLES) - database.tables()
    if missing:
        raise SystemExit(f"no table {', '.join(sorted(missing))}: is the database migrated?")
    for table in EMPTY:
        if database.count(table):
            raise SystemExit(f"{table} holds rows, which would not be copied")
    began = time.monotonic()
    seeded = {table: database.count(table) for table in TABLES}
    paid = {table: database.count(table, TABLES[table]["paid"]) if "paid" in TABLES[table] else 0 for table in TABLES}
    slices = Slices(asked.conversions, seeded["conversions"], *database.span(), asked.days)
    say(f"{seeded['conversions']} conversions, {slices.copies} copies of {slices.slice_ms / 3_600_000:.1f} h")
    database.multiply(slices)
    rows = {table: database.count(table) for table in TABLES}
    wrong = [f"{table}: {rows[table]} rows instead of {expected}" for table in TABLES
             if rows[table] != (expected := slices.expected(table, seeded[table], paid[table]))]
    database.end()
    seconds = time.monotonic() - began
    say(f"{rows['conversions']} conversions after {seconds:.0f} s")
    print(json.dumps({"run": "fill", "engine": "sqlite" if asked.sqlite else "postgres", "conversions": rows["conversions"],
                      "seconds": round(seconds), "rows": rows, "sizes": database.sizes(), "green": not wrong}))
    for sentence in wrong:
        say(sentence)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
