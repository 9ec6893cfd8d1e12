"""The results as Markdown and as a small picture. Pure."""

from typing import Any

#: (what, limit, unit): what the project promised for this stage; shown beside what was measured.
REQUESTS_MIN = 8000
P50_FLOOR_RATIO_MAX = 2.5
FIRST_CALL_MS_MAX = 15
PSS_MIB_MAX = {"python": 10, "nodejs": 25}
START_MS_MAX = 2000

LANGUAGES = (("python", "Python"), ("nodejs", "Node.js"))
FLOOR_OF = {"python": "python", "nodejs": "node"}


def markdown(results: dict[str, Any]) -> str:
    about, isolation = results["machine"], results["isolation"]
    lines = [
        "# Results of the bench",
        "",
        "Made by `lambent bench`; do not edit. Load generator, platform and floors share the CPUs of one machine, so that",
        "absolute numbers say little and the ratios to the floors of the same run more. Each row is the best of three runs. What",
        "is measured: `bench/run.py`.",
        "",
        f"Measured {about['measured']} on {about['cpus']} CPUs ({about['cpu']}), Linux {about['kernel']}, Python {about['python']}, "
        f"load before the run {about['load_before']}; Lambent {isolation['version']}, isolation `{isolation['isolation']}`"
        + (f" (cgroups {isolation['cgroups']})" if isolation.get("cgroups") else "")
        + ("; **quick run: rough numbers**" if results["quick"] else "")
        + ".",
        "",
        "## Requests",
        "",
        "| what | connections | requests/s | p50 | p99 | requests/s ÷ floor | p50 ÷ floor |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *_floors(results),
    ]
    for key, name in LANGUAGES:
        for door, title in (("route", "warm HTTP route"), ("invoke", "warm signed Invoke")):
            lines += _rows(f"{name}: {title}", results[key][door], results["floors"][FLOOR_OF[key]])
    lines += [
        "",
        "![requests per second](requests.svg)",
        "",
        "## Everything else",
        "",
        "| what | measured | promised |",
        "|---|---:|---:|",
    ]
    lines += _others(results)
    lines += ["", "## Promises", "", *_promises(results)]
    return "\n".join(lines) + "\n"


def _floors(results: dict[str, Any]) -> list[str]:
    floors = results["floors"]
    lines = _rows("floor: bare HTTP echo", floors["echo"], None)
    lines += _rows("lambent.httpd with an echo handler (floor: bare HTTP echo)", floors["httpd"], floors["echo"])
    for key, name in (("python", "Python"), ("node", "Node.js")):
        lines += _rows(f"floor: HTTP, frame to a bare {name} child and back", floors[key], None)
    return lines


def _rows(title: str, measured: dict[str, Any], floor: dict[str, Any] | None) -> list[str]:
    lines = []
    for connections, told in measured.items():
        ratios = "| | "
        if floor is not None:
            beside = floor[connections]
            ratios = f"| {told['rps'] / beside['rps']:.2f} | {told['p50_us'] / beside['p50_us']:.2f} "
        failed = f" **({told['failed']} failed)**" if told["failed"] else ""
        lines.append(
            f"| {title}{failed} | {connections} | {told['rps']:,.0f} | {_time(told['p50_us'])} | {_time(told['p99_us'])} {ratios}|"
        )
    return lines


def _time(microseconds: float) -> str:
    return f"{microseconds:.0f} µs" if microseconds < 1000 else f"{microseconds / 1000:.1f} ms"


def _others(results: dict[str, Any]) -> list[str]:
    starts = sorted(results["start_ms"])
    lines = [f"| start of the platform to its first answer | {starts[len(starts) // 2]:.0f} ms | < {START_MS_MAX} ms |"]
    for key, name in LANGUAGES:
        told = results[key]
        first, burst, memory = told["first_call_ms"], told["burst"], told["idle_pss_mib"]
        lines += [
            f"| {name} ({told['runtime']}): first call after deployment, standby at hand, p50 of {first['count']} "
            f"| {first['p50']:.1f} ms | ≤ {FIRST_CALL_MS_MAX} ms |",
            f"| {name}: the same, p99 | {first['p99']:.1f} ms | |",
            f"| {name}: {burst['calls']} cold calls at once (each sleeps 100 ms), until all are answered | {burst['all_ms']:.0f} ms | |",
            f"| {name}: PSS of an idle environment, mean of {memory['count']} | {memory['mean']:.1f} MiB | ≤ {PSS_MIB_MAX[key]} MiB |",
        ]
    lines.append(f"| PSS of the node process after the run | {results['node_pss_mib']:.0f} MiB | |")
    return lines


def _promises(results: dict[str, Any]) -> list[str]:
    kept: list[tuple[str, bool]] = []
    for door, title in (("route", "HTTP route"), ("invoke", "signed Invoke")):
        best = max(results[key][door]["16"]["rps"] for key, _ in LANGUAGES)
        kept.append((f"{title} at 16 connections at least {REQUESTS_MIN:,}/s: {best:,.0f}/s", best >= REQUESTS_MIN))
        for key, name in LANGUAGES:
            ratio = results[key][door]["1"]["p50_us"] / results["floors"][FLOOR_OF[key]]["1"]["p50_us"]
            kept.append(
                (f"{name} {title}, p50 at one connection at most {P50_FLOOR_RATIO_MAX} times the floor: {ratio:.2f}", ratio <= P50_FLOOR_RATIO_MAX)
            )  # fmt: skip
    for key, name in LANGUAGES:
        first = results[key]["first_call_ms"]["p50"]
        memory = results[key]["idle_pss_mib"]
        kept.append(
            (f"{name} first call at most {FIRST_CALL_MS_MAX} ms at p50: {first:.1f} ms", first <= FIRST_CALL_MS_MAX)
        )
        within = 0 < memory["mean"] <= PSS_MIB_MAX[key]
        kept.append((f"{name} idle environment at most {PSS_MIB_MAX[key]} MiB: {memory['mean']:.1f} MiB", within))
    start = sorted(results["start_ms"])[len(results["start_ms"]) // 2]
    kept.append((f"start under {START_MS_MAX} ms: {start:.0f} ms", start < START_MS_MAX))
    return [f"- {'kept' if yes else '**missed**'}: {text}" for text, yes in kept]


def plot(results: dict[str, Any]) -> str:
    """Bars of requests per second at 16 connections."""
    floors = results["floors"]
    bars = [("bare HTTP echo", floors["echo"]), ("lambent.httpd echo", floors["httpd"])]
    for key, name in LANGUAGES:
        bars += [
            (f"floor with a {name} child", floors[FLOOR_OF[key]]),
            (f"{name} route", results[key]["route"]),
            (f"{name} signed Invoke", results[key]["invoke"]),
        ]
    largest = max(told["16"]["rps"] for _, told in bars)
    height = 30 + 24 * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="720" height="{height}" fill="white"/>',
        '<text x="10" y="18" font-weight="bold">requests per second at 16 connections</text>',
    ]
    for position, (title, told) in enumerate(bars):
        top = 30 + 24 * position
        width = 420 * told["16"]["rps"] / largest
        color = "#9aa5b1" if "floor" in title or "echo" in title else "#2f6f9f"
        parts += [
            f'<text x="190" y="{top + 14}" text-anchor="end">{title}</text>',
            f'<rect x="200" y="{top}" width="{width:.0f}" height="18" fill="{color}"/>',
            f'<text x="{206 + width:.0f}" y="{top + 14}">{told["16"]["rps"]:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
