"""Turns the lines of `postback bench --json` into docs/performance.md, on standard output.

    python3 scripts/bench_table.py LINES [MEASURED]

Every figure is the median of its repetitions with the smallest and the largest beside it. The marks are those of the
project's benchmark contract; whether one is met is judged by the median.
"""

import json
import statistics
import sys

STACKS = {"sqlite": "SQLite and the queue in the process", "postgres": "PostgreSQL and RabbitMQ"}
# Run, whether its rate was fixed, how many instances there were, and its name in the tables.
RUNS = [
    ("ingest", False, 1, "ingest"),
    ("end-to-end", False, 1, "end to end"),
    ("end-to-end", False, 2, "end to end, two instances"),
    ("end-to-end", False, 4, "end to end, four instances"),
    ("end-to-end", True, 1, "end to end at half the rate of one instance"),
    ("end-to-end", True, 2, "the same, two instances"),
    ("end-to-end", True, 4, "the same, four instances"),
    ("fan-out", False, 1, "fan-out"),
    ("duplicates", False, 1, "duplicates"),
    ("noisy-neighbour", True, 1, "noisy neighbour"),
    ("backlog", False, 1, "backlog"),
    ("single", False, 1, "single"),
]
# What, stack, run, figure, mark, stretch, unit, whether more is better.
MARKS = [
    ("end to end", "postgres", "end-to-end", "delivered_per_second", 6000, 10000, "/s", True),
    ("end to end: acknowledgement p99", "postgres", "end-to-end", "acknowledged_p99_micros", 25, None, "ms", False),
    ("end to end: CPU for 1 000", "postgres", "end-to-end", "cpu", 0.25, 0.12, "s", False),
    ("ingest", "postgres", "ingest", "acknowledged_per_second", 12000, 18000, "/s", True),
    ("ingest: acknowledgement p99", "postgres", "ingest", "acknowledged_p99_micros", 15, None, "ms", False),
    ("ingest: CPU for 1 000", "postgres", "ingest", "cpu", 0.10, 0.06, "s", False),
    ("end to end", "sqlite", "end-to-end", "delivered_per_second", 5000, 8000, "/s", True),
    ("one postback alone: acknowledgement p50", "postgres", "single", "acknowledged_p50_micros", 2, 1, "ms", False),
    ("one postback alone: received p50", "postgres", "single", "end_to_end_p50_micros", 10, 4, "ms", False),
    ("one postback alone: acknowledgement p50", "sqlite", "single", "acknowledged_p50_micros", 2, 1, "ms", False),
    ("one postback alone: received p50", "sqlite", "single", "end_to_end_p50_micros", 10, 4, "ms", False),
    ("memory of the service, end to end", "postgres", "end-to-end", "memory", 150, 100, "MB", False),
    ("memory of the service, end to end", "sqlite", "end-to-end", "memory", 150, 100, "MB", False),
]

# One row for each commit over 32 connections, on the machine for which the marks were set: rows a second, and CPU seconds for
# 1 000 rows.
YARDSTICK = (17000, 0.088)


def cpu(line, parts=("service", "database", "broker")):
    known = [line["cpu_micros_per_thousand"][part] for part in parts]
    return sum(part for part in known if part is not None) / 1e6


def figure(line, name):
    """A figure in the unit in which it is shown; None where the run has none."""
    if name == "cpu":
        return cpu(line)
    if name == "memory":
        memory = line["peak_memory_bytes"]["service"]
        return None if memory is None else memory / 1e6
    value = line[name]
    if name.startswith(("delivered", "end_to_end")) and line["delivered"] == 0:
        return None
    return value / 1e3 if name.endswith("_micros") else value


def number(value):
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values):
    """The median, and what it lies between."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}–{number(max(values))})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def of(lines, engine, run, fixed=False, instances=1):
    found = [line for line in lines if (line["engine"], line["run"]) == (engine, run) and not line["prefilled"]]
    found = [line for line in found if line.get("instances", 1) == instances]
    # The noisy neighbour's rate is always fixed.
    return [line for line in found if run == "noisy-neighbour" or (line["rate_per_second"] is not None) == fixed]


def stack_tables(lines, engine):
    speed, costs = [], []
    for run, fixed, instances, name in RUNS:
        group = of(lines, engine, run, fixed, instances)
        if not group:
            continue
        each = lambda field: spread([figure(line, field) for line in group])
        speed.append([name] + [each(field) for field in (
            "acknowledged_per_second", "acknowledged_p50_micros", "acknowledged_p95_micros", "acknowledged_p99_micros",
            "delivered_per_second", "end_to_end_p50_micros", "end_to_end_p99_micros")])
        one = lambda *parts: spread([cpu(line, parts) for line in group])
        memory = lambda part: spread([(line["peak_memory_bytes"][part] or 0) / 1e6 or None for line in group])
        servers = [one("database"), one("broker")] if engine == "postgres" else ["–", "–"]
        messages = spread([line.get("messages_per_thousand") for line in group])
        costs.append([name, one("service"), *servers, one("sender", "receiver"), messages,
                      memory("service"), memory("database"), memory("broker")])
    noisy = of(lines, engine, "noisy-neighbour")
    text = table(["run", "acknowledged /s", "p50 ms", "p95 ms", "p99 ms", "delivered /s", "end to end p50 ms", "p99 ms"], speed)
    text += "\n\nCPU seconds and messages in the queue for 1 000 postbacks (backlog: 1 000 deliveries), and the most memory in MB:\n\n"
    text += table(["run", "service", "database", "broker", "generator and receiver", "messages", "memory: service", "database", "broker"], costs)
    if noisy:
        well = spread([line["before"]["end_to_end_p99_micros"] / 1e3 for line in noisy])
        sick = spread([line["end_to_end_p99_micros"] / 1e3 for line in noisy])
        text += f"\n\nNoisy neighbour, at {noisy[0]['rate_per_second']} a second: end to end p99 at the nine endpoints that " \
                f"are well {sick} ms while the tenth hangs, {well} ms at all ten while it does not."
    return text


def yardstick(lines):
    """How many times as long, and as much CPU time, this machine needs for the same rows; None where it was not measured."""
    found = [line for line in lines if line["run"] == "yardstick"]
    if not found:
        return None
    rows, cpu_seconds = YARDSTICK
    median = lambda field: statistics.median(line[field] for line in found)
    return rows / median("rows_per_second"), median("cpu_micros_per_thousand") / 1e6 / cpu_seconds


def at_yardstick(middle, unit, factors):
    """What a machine as fast as that of the marks would have shown."""
    if factors is None or unit not in ("/s", "s"):
        return "–"
    return f"{number(middle * factors[0] if unit == '/s' else middle / factors[1])} {unit}"


def mark_rows(lines):
    rows, factors = [], yardstick(lines)
    for name, engine, run, field, mark, stretch, unit, more in MARKS:
        values = [value for value in (figure(line, field) for line in of(lines, engine, run)) if value is not None]
        sign = "≥" if more else "≤"
        shown = [f"{sign} {limit:g} {unit}" if limit is not None else "–" for limit in (mark, stretch)]
        if not values:
            rows.append([name, engine, *shown, "not measured", "–", "–"])
            continue
        middle = statistics.median(values)
        holds = lambda limit: limit is not None and (middle >= limit if more else middle <= limit)
        verdict = "met, and the stretch" if holds(mark) and holds(stretch) else "met" if holds(mark) else "**not met**"
        rows.append([name, engine, *shown, f"{spread(values)} {unit}", verdict, at_yardstick(middle, unit, factors)])
    rows.extend(growth_rows(lines))
    return rows


def growth_rows(lines):
    rows = []
    for engine in STACKS:
        empty = [line["acknowledged_per_second"] for line in of(lines, engine, "ingest")]
        full = [line for line in lines if line["engine"] == engine and line["run"] == "ingest" and line["prefilled"]]
        if not empty or not full:
            continue
        share = 100 * statistics.median(line["acknowledged_per_second"] for line in full) / statistics.median(empty)
        verdict = "met, and the stretch" if share >= 95 else "met" if share >= 80 else "**not met**"
        rows.append([f"growth: ingest rate at {number(full[0]['prefilled'])} rows, of empty", engine, "≥ 80 %", "≥ 95 %",
                     f"{number(share)} %", verdict, "–"])
    return rows


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        everything = [json.loads(line) for line in file if line.strip()]
    lines = [line for line in everything if line["run"] != "yardstick"]
    measured = sys.argv[2] if len(sys.argv) > 2 else ""
    repeats = max((len(of(lines, engine, run, fixed, instances)) for engine in STACKS for run, fixed, instances, _ in RUNS), default=0)
    wrong = [line for line in lines if not line["green"]]
    print("# Performance\n")
    print("<!-- Made by `scripts/bench`; do not edit by hand. -->\n")
    often = f"is the median of {repeats} repetitions with the smallest and the largest in brackets" if repeats > 1 else "was measured once"
    print(f"{measured} Load")
    print("generator, receiver, service, database and broker share this machine. Each figure")
    print(f"{often}; 64 connections, bodies of 450 bytes, HMAC on every")
    print("request and every message. Rates move with the machine's neighbours: CPU seconds and ratios are what to trust.")
    print("`postback bench --help` and the head of `scripts/bench` say how to measure again.\n")
    if wrong:
        print(f"**{len(wrong)} of {len(lines)} runs lost, doubled or refused something.**\n")
    else:
        print(f"In all {len(lines)} runs nothing was lost, nothing doubled, and every signature fitted.\n")
    print("## Marks\n")
    factors = yardstick(everything)
    if factors is not None:
        print("The marks were set on a machine whose PostgreSQL commits 17 000 single rows a second over 32 connections with 0.088 CPU")
        print(f"seconds for 1 000 rows. This one takes {number(factors[0])} times as long for a row and {number(factors[1])} times the CPU time. The last column is")
        print("what was measured, divided or multiplied by that; the verdict is about what was measured.\n")
    print(table(["what", "stack", "mark", "stretch", "measured", "", "by that yardstick"], mark_rows(everything)))
    print("\nWhere the time goes, and what holds the marks back that are not met: [decision 11](decisions/0011-where-the-time-goes.md).")
    for engine, title in STACKS.items():
        if any(line["engine"] == engine for line in lines):
            print(f"\n## {title}\n")
            print(stack_tables(lines, engine))


if __name__ == "__main__":
    main()
