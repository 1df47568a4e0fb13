"""Turns the lines of `scripts/growth` into docs/growth.md, on standard output.

    python3 scripts/growth_table.py LINES [MEASURED]

Every figure is the median of its repetitions with the smallest and the largest beside it. The mark is that of the project's
benchmark contract, for the rate of ingest; whether it is met is judged by the medians.
"""

import json
import statistics
import sys

sys.dont_write_bytecode = True
from bench_table import STACKS, cpu, figure, number, spread, table  # noqa: E402

MARK, STRETCH = 80, 95
MARKED_CONVERSIONS = 10_000_000  # of which the mark speaks
RUNS = {"ingest": ("ingest", "acknowledged_per_second"), "end-to-end": ("end to end", "delivered_per_second")}


EMPTY, FILLED, COLD = "empty", "full", "cold"


def of(lines, engine, run, state):
    return [line for line in lines if (line["engine"], line["run"], line.get("state")) == (engine, run, state)]


def shares(lines, engine, run, field):
    """Of the medians, and of each pair of an empty and a filled database that followed one another."""
    empty, filled = ([line[field] for line in of(lines, engine, run, state)] for state in (EMPTY, FILLED))
    if not empty or not filled:
        return None, []
    return 100 * statistics.median(filled) / statistics.median(empty), [100 * b / a for a, b in zip(empty, filled)]


def mark_rows(lines, fills):
    rows = []
    for engine in STACKS:
        for run, (name, field) in RUNS.items():
            share, pairs = shares(lines, engine, run, field)
            if share is None:
                continue
            rates = [spread([line[field] for line in of(lines, engine, run, state)]) for state in (EMPTY, FILLED)]
            verdict = "met, and the stretch" if share >= STRETCH else "met" if share >= MARK else "**not met**"
            judged = run == "ingest" and fills[engine]["conversions"] >= MARKED_CONVERSIONS
            marks = [f"≥ {MARK} %", f"≥ {STRETCH} %", verdict] if judged else ["–", "–", "not judged"]
            rows.append([f"{name}, {number(fills[engine]['conversions'])} conversions", engine, *(f"{rate} /s" for rate in rates),
                         f"{number(share)} % ({number(min(pairs))}–{number(max(pairs))})", *marks])
    return rows


def run_rows(lines, engine):
    rows = []
    for run, (name, _) in RUNS.items():
        for state, shown in ((EMPTY, "empty"), (FILLED, "filled"), (COLD, "filled, nothing in memory")):
            group = of(lines, engine, run, state)
            each = lambda field: spread([figure(line, field) for line in group])
            one = lambda part: spread([cpu(line, [part]) for line in group])
            if group:
                rows.append([f"{name}, {shown}"] + [each(field) for field in (
                    "acknowledged_per_second", "acknowledged_p50_micros", "acknowledged_p99_micros", "delivered_per_second",
                    "end_to_end_p99_micros")] + [one("service"), one("database") if engine == "postgres" else "–"])
    return rows


def size_rows(fill):
    """Tables with their indexes, the biggest first, in bytes for each conversion."""
    each = lambda size: number(size / fill["conversions"]) if size / fill["conversions"] >= 0.01 else "0"
    tables = {name: size["bytes"] for name, size in fill["sizes"].items() if not size["of"] and name in fill["rows"]}
    indexes = {name: [(index, size["bytes"]) for index, size in fill["sizes"].items() if size["of"] == name] for name in tables}
    whole = lambda name: tables[name] + sum(size for _, size in indexes[name])
    rows = []
    for name in sorted(tables, key=whole, reverse=True):
        parts = ", ".join(f"{index} {each(size)}" for index, size in sorted(indexes[name], key=lambda part: -part[1]))
        rows.append([name, number(fill["rows"][name]), each(whole(name)), each(tables[name]), parts or "–"])
    return rows


def millis(found):
    if "refused" in found:
        return [found["refused"], "–", "–"]
    return [number(found[f"{name}_micros"] / 1000) for name in ("first", "median", "largest")]


def stack(lines, fill, engine):
    total = sum(size["bytes"] for size in fill["sizes"].values())
    print(f"\n## {STACKS[engine]}\n")
    print(table(["run", "acknowledged /s", "p50 ms", "p99 ms", "delivered /s", "end to end p99 ms", "CPU s for 1 000: service", "database"],
                run_rows(lines, engine)))
    print(f"\nThe filled database has {number(total / 1e9)} GB, {number(total / fill['conversions'])} bytes for each conversion; it took "
          f"{number(fill['seconds'])} s to fill. Bytes for each conversion, with all indexes:\n")
    print(table(["table", "rows", "bytes", "of it the table", "of it the indexes"], size_rows(fill)))
    for probe in (line for line in lines if line["run"] == "probe" and line["engine"] == engine):
        print("\nWhat people ask, 50 rows a page, in milliseconds: the first time, then the median and the largest of the next ones.\n")
        print(table(["list", "first", "median", "largest"], [[f"`{path}`", *millis(found)] for path, found in probe["lists"].items()]))
        print("\nWhat the service's own tasks ask, timed by the engine.\n")
        print(table(["question", "first", "median", "largest"], [[name, *millis(found)] for name, found in probe["tasks"].items()]))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if line.strip()]
    measured = sys.argv[2] if len(sys.argv) > 2 else ""
    fills = {line["engine"]: line for line in lines if line["run"] == "fill"}
    runs = [line for line in lines if line["run"] in RUNS]
    wrong = [line for line in runs if not line["green"]]
    repeats = max((len(of(runs, engine, run, FILLED)) for engine in STACKS for run in RUNS), default=0)
    print("# Growth\n")
    print("<!-- Made by `scripts/growth`; do not edit by hand. -->\n")
    print(f"{measured} Load generator,")
    print("receiver, service, database and broker share this machine. Runs on an empty and on the filled database in turns, each")
    print(f"{repeats} times: the median, with the smallest and the largest in brackets. 64 connections, bodies of 450 bytes, event ids that")
    print("look random, so that what tells duplicates lies anywhere among the keys of all conversions; the index of those keys was read")
    print("into memory before, but for one run that found nothing there. What is in the tables and how it came there is told at the head")
    print("of `scripts/growth_fill.py`; what follows from it: [decision 16](decisions/0016-growth.md).\n")
    print(f"**{len(wrong)} of {len(runs)} runs lost, doubled or refused something.**\n" if wrong else
          f"In all {len(runs)} runs nothing was lost, nothing doubled, and every signature fitted.\n")
    if any(fill["conversions"] < MARKED_CONVERSIONS for fill in fills.values()):
        print("**A trial of the script: the mark speaks of ten million conversions, and is judged with no fewer.**\n")
    print("## Marks\n")
    print(table(["what", "stack", "empty", "filled", "filled, of empty", "mark", "stretch", ""], mark_rows(runs, fills)))
    for engine in STACKS:
        if engine in fills:
            stack(lines, fills[engine], engine)


if __name__ == "__main__":
    main()
