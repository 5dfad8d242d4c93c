"""The table of a run's raw lines."""

import statistics

import servers
from rows import ROWS

AGAINST = {kind.name: kind.against for kind in servers.SERVERS}
BEHIND = 0.9            # consumers that work less of what is published meanwhile fall behind
EVENTS = {"faults": "connections broke", "refused": "refused", "unanswered": "never answered"}


def counted(lines):
    """The lines that count: with a value, and not measured once more."""
    return [line for line in lines if "value" in line and "discarded" not in line]


def spread(values, form="{:,.0f}"):
    if not values:
        return "-"
    return " / ".join(form.format(v) for v in (min(values), statistics.median(values), max(values)))


def middle(lines, key, form):
    values = [line[key] for line in lines if line.get(key) is not None]
    return form.format(statistics.median(values)) if values else "-"


def ratios(lines, own, fewer):
    """sluice against the server, each round by itself; over 1: sluice is better."""
    by_round = {line["round"]: line["value"] for line in own}
    pairs = [(by_round[line["round"]], line["value"]) for line in lines if line["round"] in by_round]
    return [(theirs / ours if fewer else ours / theirs) for ours, theirs in pairs if ours > 0 and theirs > 0]


HEAD = (f"  {'server':17} {'value':>29}  {'sluice is better by':>21} {'CPU us':>7} {'gen.':>5} {'p50 ms':>7} {'p99 ms':>7} "
        f"{'worked p50/p99':>15} {'disk B':>7} {'unwritten':>9} {'lost':>5} {'again':>5} {'sync us':>8}")


def print_server(server, mine, own, row):
    ratio = "" if AGAINST.get(server) == server else spread(ratios(mine, own, row.get("fewer", False)), "{:.2f}")
    worked = f"{middle(mine, 'worked_p50_ms', '{:.2f}')}/{middle(mine, 'worked_p99_ms', '{:.2f}')}"
    syncs = [v for line in mine for v in line["sync_us"]]
    print(f"  {server:17} {spread([line['value'] for line in mine], row.get('form', '{:,.0f}')):>29}  {ratio:>21} "
          f"{middle(mine, 'cpu_us', '{:.2f}'):>7} {middle(mine, 'generator_share', '{:.0%}'):>5} "
          f"{middle(mine, 'p50_ms', '{:.2f}'):>7} {middle(mine, 'p99_ms', '{:.2f}'):>7} {worked:>15} "
          f"{middle(mine, 'disk_bytes', '{:.0f}'):>7} {middle(mine, 'never_written', '{:.1%}'):>9} "
          f"{sum(line.get('lost', 0) for line in mine):>5} {sum(line.get('repeated', 0) for line in mine):>5} "
          f"{statistics.median(syncs):>8.0f}")
    for note in notes(mine):
        print(f"  {'':17} {note}")


def notes(mine):
    """What the columns have no place for."""
    said = []
    extra = mine[0].get("extra", {})
    if extra:
        medians = {key: statistics.median(line["extra"][key] for line in mine if "extra" in line) for key in extra}
        said.append("; ".join(f"{key} {value:,.2f}" if value < 10 else f"{key} {value:,.0f}" for key, value in medians.items()))
    behind = falling_behind(mine)
    if behind is not None:
        said.append(f"its consumers fell behind: {behind:,.0f} worked/s while this was published")
    for key, words in EVENTS.items():
        count = sum(line.get("findings", {}).get(key, 0) for line in mine)
        if count:
            said.append(f"{count:,} {words}")
    failed = sum(line.get("failed", 0) for line in mine)
    if failed:
        said.append(f"{failed:,} connections failed")
    if any(line.get("unsteady") for line in mine):
        said.append("the disk's speed changed within a measurement, each time it was repeated")
    return said


def falling_behind(mine):
    """What consumers worked while more was published than they took; None: they kept up, or stood still on purpose."""
    found = [line["findings"] for line in mine if "consumers" in line.get("findings", {}) and "extra" not in line]
    worked = [f["consumers"]["per_second"] for f in found if f["consumers"]["per_second"] < BEHIND * f["per_second"]]
    return statistics.median(worked) if worked else None


def print_row(name, lines):
    row, good = ROWS[name], counted(lines)
    print(f"\n{name} ({row['unit']}; min / median / max)\n{HEAD}")
    for server in dict.fromkeys(line["server"] for line in good):
        mine = [line for line in good if line["server"] == server]
        print_server(server, mine, [line for line in good if line["server"] == AGAINST.get(server)], row)
    for line in lines:
        if "trouble" in line:
            print(f"  {line['server']:17} round {line['round']}: {line['trouble']}")
            print("".join(f"  {'':17} | {words}\n" for words in line.get("log", [])), end="")
    repeated = sum("discarded" in line for line in lines)
    if repeated:
        print(f"  {repeated} measured once more, because the disk's speed changed meanwhile")


def print_table(lines):
    for name in ROWS:
        mine = [line for line in lines if line["row"] == name]
        if mine:
            print_row(name, mine)
