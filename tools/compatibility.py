"""Records the results of runs of the integration tests, and makes the table of what works where from them.

    compatibility.py record PLACE COMMAND...    runs the tests and keeps the results in target/compat
    compatibility.py table                      writes docs/compatibility.md from target/compat

PLACE says where the server ran: `this machine` or `container`. A record replaces an earlier one of the same server, C
library and TensorFlow. All records of a table have the same number of tests; the table names it, with the date of the
oldest record, and tools/check_docs.py compares both with the suite. Only the list of wanted servers is written by hand.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORDS = ROOT / "target" / "compat"
TABLE = ROOT / "docs" / "compatibility.md"

# `test MODULE::NAME ... ok`. The line that says that a test is slow has no dots.
RESULT = re.compile(r"^test (\S+) \.\.\. (ok|FAILED|ignored)")

# What users run or may run: the server's version, what it is, and how to run the tests against it.
WANTED_SERVERS = [
    ("2.7.0", "NVIDIA's container 21.02, the first with this backend API",
     "TRITON_IMAGE=nvcr.io/nvidia/tritonserver:21.02-py3 make test-container"),
    ("2.56.0", "NVIDIA's container 25.03, the first without a TensorFlow backend",
     "TRITON_IMAGE=nvcr.io/nvidia/tritonserver:25.03-py3 make test-container"),
    ("2.73.0", "the newest release when this list was written", "TRITON_IMAGE=... make test-container"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record")
    record.add_argument("place")
    record.add_argument("run", nargs=argparse.REMAINDER, metavar="COMMAND")
    commands.add_parser("table")
    arguments = parser.parse_args()
    sys.exit(run_and_record(arguments.place, arguments.run) if arguments.command == "record" else write_table())


def run_and_record(place, command):
    """Runs the command, passes its output on, keeps the results of the tests; returns the command's exit code."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RECORDS, prefix=".run-") as folder:
        notes_file = pathlib.Path(folder) / "notes"
        environment = os.environ | {"TL_RESULTS": str(notes_file)}
        results, filtered = {}, 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, errors="replace") as process:
            for line in process.stdout:
                print(line, end="", flush=True)
                if match := RESULT.match(line):
                    results[match[1]] = match[2]
                if match := re.match(r"test result: .* (\d+) filtered out", line):
                    filtered += int(match[1])
        notes = [json.loads(line) for line in notes_file.read_text().splitlines()] if notes_file.exists() else []

    facts = next((note["value"] for note in notes if note["kind"] == "server"), None)
    left_out = unique(note["value"] for note in notes if note["kind"] == "left_out")
    skipped = unique(note["value"] for note in notes if note["kind"] == "skipped")
    if left_out or skipped:
        print("Not possible here and therefore not tested:")
        for entry in skipped + left_out:
            print(f"  {entry['what']}: {entry['why']}")
    if facts is None:
        print("This run is not recorded: it ended before the test that asks the server for its version.")
        return process.returncode or 1
    if filtered:
        print(f"This run is not recorded: a filter left out {filtered} tests.")
        return process.returncode

    by_result = lambda wanted: sorted(name for name, result in results.items() if result == wanted)
    found = facts | {
        "place": place,
        "date": datetime.date.today().isoformat(),
        "tests": len(results),
        "backend": backend_needs(pathlib.Path(os.environ["TL_BACKEND"])),
        # A test that is not possible on this server ends early, which the runner counts as a success.
        "passed": len(set(by_result("ok")) - {entry["what"] for entry in skipped}),
        "failed": by_result("FAILED"),
        "skipped": skipped + [{"what": name, "why": "ignored by the test runner"} for name in by_result("ignored")],
        "left_out": left_out,
    }
    parts = [place.replace(" ", "_"), facts["server"], "glibc", facts["glibc"], "tensorflow", facts["tensorflow"]]
    file = RECORDS / f"{'-'.join(parts)}.json"
    file.write_text(json.dumps(found, indent=1) + "\n")
    print(f"Recorded: {file.relative_to(ROOT)}")
    return process.returncode


def unique(entries):
    return [dict(pairs) for pairs in sorted({tuple(entry.items()) for entry in entries}, key=lambda p: dict(p)["what"])]


def backend_needs(library):
    """The newest glibc that the library requires."""
    data = library.read_bytes()
    asked = re.findall(rb"GLIBC_(\d+(?:\.\d+)+)\0", data)
    floor = max((tuple(map(int, version.split(b"."))) for version in asked), default=())
    return {"file": library.name, "glibc_floor": ".".join(map(str, floor))}


def version_key(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def write_table():
    records = [json.loads(file.read_text()) for file in RECORDS.glob("*.json")]
    if not records:
        print("There are no records in target/compat. Make them: make compatibility", file=sys.stderr)
        return 1
    counts = sorted({record.get("tests", 0) for record in records})
    if len(counts) > 1 or counts == [0]:
        print(f"target/compat has records of another state of the suite ({', '.join(map(str, counts))} tests; 0: an old "
              "record that does not tell). Remove them, and run `make compatibility` again.", file=sys.stderr)
        return 1
    records.sort(key=lambda r: (version_key(r["server"]), version_key(r["tensorflow"]), r["place"]))
    lines = [
        "# What works where",
        "",
        "Generated by `make compatibility` from the results of the integration tests; do not edit. Each line is one run of",
        "the tests against a real server. The versions of the server, its backend API and its C library are those that the",
        "server reports; TensorFlow's version is the one that the backend loaded.",
        "",
        f"Made on {min(record['date'] for record in records)} with {counts[0]} tests.",
        "",
        "| Triton | backend API | server runs | its glibc | TensorFlow | library needs glibc | passed | failed | skipped |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(record) for record in records]

    lines += ["", "## Not run", ""]
    seen = {record["server"] for record in records}
    for version, what, how in WANTED_SERVERS:
        if version not in seen:
            lines.append(f"- Triton {version} ({what}): **not run**. `{how}`")

    lines += ["", "## Not possible, and therefore not tested", "", "Decided by asking the server, not by its version.", ""]
    reasons = {}
    for record in records:
        entries = [f"- {entry['what']}: {entry['why']}" for entry in record["left_out"]]
        entries += [f"- the test `{entry['what']}`: {entry['why']}" for entry in record["skipped"]]
        if entries:
            # Runs of the same server with several TensorFlows have the same ones.
            reasons.setdefault((record["server"], record["place"], tuple(entries)), []).append(record["tensorflow"])
    for (server, place, entries), versions in reasons.items():
        lines += [f"Triton {server} ({place}) with TensorFlow {', '.join(versions)}:", "", *entries, ""]

    failed = [record for record in records if record["failed"]]
    if failed:
        lines += ["## What failed", ""]
        for record in failed:
            lines += [f"{headline(record)}:", ""] + [f"- `{name}`" for name in record["failed"]] + [""]
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines).rstrip() + "\n")
    print(f"{len(records)} runs: {TABLE.relative_to(ROOT)}")
    return 0


def headline(record):
    return f"Triton {record['server']} ({record['place']}) with TensorFlow {record['tensorflow']}"


def row(record):
    cells = [record["server"], record["backend_api"], record["place"], record["glibc"], record["tensorflow"],
             record["backend"]["glibc_floor"], record["passed"], len(record["failed"]), len(record["skipped"])]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
