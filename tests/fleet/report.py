"""Tables of the results, and what is wrong with them."""


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                       for column, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]
    return "\n".join(lines)


def day(result):
    names = {"ours": "arrival rate x cost", "usual": f"queue time over {result['usual_queue_ms']} ms"}
    fleets = result["fleets"]
    rows = [["", *(names[name] for name in fleets)]]

    def row(label, cell):
        rows.append([label, *(cell(fleet) for fleet in fleets.values())])

    row("requests", lambda fleet: f"{fleet['scheduled']}")
    row(f"in time ({result['client_target_ms']} ms)", lambda fleet: f"{fleet['in_time_share']:.2%}")
    row("refused", lambda fleet: f"{fleet['refused']}")
    row("lost", lambda fleet: f"{lost(fleet)}")
    row("p50, p99 (ms)", lambda fleet: f"{fleet['p50_ms']:.0f}, {fleet['p99_ms']:.0f}")
    row("servers started", lambda fleet: f"{fleet['servers_started']}")
    row("replica-minutes", lambda fleet: f"{fleet['replica_minutes']:.1f}")
    row("mean replicas", lambda fleet: f"{fleet['replica_minutes'] / fleet['minutes']:.2f}")
    lines = [table(rows), ""]
    for name, fleet in fleets.items():
        lines.append(f"replicas that serve, {name}: {strip(fleet['timeline'])}")
    return "\n".join(lines)


def strip(timeline, width=60):
    """The number of replicas over time, a digit for each part of it."""
    step = max(1, len(timeline) // width)
    return "".join(str(sample["serving"]) for sample in timeline[::step])


def rolling(result):
    fleet = result["fleets"]["rolling"]
    return table([
        ["Inception-v3, rolling restart", f"{result['servers']} servers"],
        ["requests", str(fleet["scheduled"])],
        ["answered", str(fleet["answered"])],
        ["lost", str(lost(fleet))],
        ["p50, p99, slowest (ms)", f"{fleet['p50_ms']:.0f}, {fleet['p99_ms']:.0f}, {fleet['max_ms']:.0f}"],
        ["restarts took (s)", f"{result['restarts_took_s']:.0f}"],
        ["exit codes", " ".join(map(str, fleet["exit_codes"]))],
    ])


TABLES = {"day": day, "rolling": rolling}


def lost(fleet):
    """Requests without an answer of a server: neither served nor refused (503) by one."""
    return fleet["failed"] + fleet["unsent"]


def faults(result, least_in_time):
    """Why the run did not show what it is to show."""
    found = []
    for name, fleet in result["fleets"].items():
        def fault(text, name=name):
            found.append(f"{name}: {text}")

        if lost(fleet):
            fault(f"{lost(fleet)} requests were lost: {fleet['errors']}")
        if fleet["answered"] + fleet["refused"] + fleet["failed"] + fleet["unsent"] != fleet["scheduled"]:
            fault(f"of {fleet['scheduled']} requests {fleet['answered']} were answered, {fleet['refused']} refused and "
                  f"{fleet['failed'] + fleet['unsent']} lost, which does not add up")
        if bad := [code for code in fleet["exit_codes"] if code != 0]:
            fault(f"{len(bad)} servers did not end with exit code 0: {fleet['exit_codes']}")
        if fleet["not_drained"]:
            fault(f"{fleet['not_drained']} servers still had requests when their time to drain was over")
        for problem in fleet["rule_errors"]:
            fault(f"Prometheus could not evaluate {problem}")
    if result["scenario"] == "day" and "ours" in result["fleets"]:
        ours = result["fleets"]["ours"]
        if ours["in_time_share"] < least_in_time:
            found.append(f"ours: {ours['in_time_share']:.2%} of the requests were in time; {least_in_time:.0%} are to be, at least")
        counts = [sample["serving"] for sample in ours["timeline"]]
        if len(set(counts)) < 2 or max(counts) == counts[-1]:
            found.append(f"ours: the fleet did not grow and shrink with the load: {strip(ours['timeline'])}")
        usual = result["fleets"].get("usual")
        if usual and ours["replica_minutes"] >= usual["replica_minutes"]:
            found.append("ours: it took no fewer replica-minutes than the usual rule")
    if result["scenario"] == "rolling":
        fleet = result["fleets"]["rolling"]
        if fleet["refused"]:
            found.append(f"rolling: {fleet['refused']} requests were answered with 503")
        if not result["all_under_load"]:
            found.append("rolling: the load ended before the last restart; give it more --seconds")
    return found
