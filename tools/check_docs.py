"""Checks the documentation: runs its commands, follows its links, compares its lists with the code.

    python tools/check_docs.py [--only blocks,links,targets,names,length,compatibility]

`make check-docs` runs it after a build. The README and the guides are the Markdown files of the repository's root and of
docs/; links are checked in every Markdown file of the repository.

Fenced blocks need a language. Blocks of `sh` are run as written with `bash -euo pipefail` in the repository's root,
`python` has to compile, `json` has to parse, `pbtxt` has to be (part of) a model configuration. A comment before a block
changes that:

    <!-- not run: REASON -->                  the block is not run
    <!-- not run (make test): REASON -->      its lines that begin with `make test` are not run
    <!-- needs: server -->                    run (Python too) against a server with Inception-v3 at localhost:8000, in a
                                              folder with request.json

Ends with exit code 1 if anything is wrong, after having said all that is.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

PROJECT = pathlib.Path(__file__).resolve().parent.parent
TIME_LIMIT = 60  # seconds for a block
README_LINES = 150
ADDRESS = "localhost:8000"  # what the guides call the server
CHECKED_LANGUAGES = ["sh", "python", "json", "pbtxt"]
OTHER_LANGUAGES = ["text", "rust", "toml", "cmake", "promql"]
# A line of `text` that begins so is a command in disguise.
COMMANDS = re.compile(r"(\$ |(make|cargo|curl|docker|podman|pip|cmake|git|tritonserver|python3?|\.venv/bin/python)\b)")

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>\S*)\s*$")
NOT_RUN = re.compile(r"<!-- not run(?: \((?P<prefix>.+?)\))?: (?P<reason>\S.*?) -->$")
NEEDS_SERVER = "<!-- needs: server -->"
# Set by or for the make that runs this script, and so not for a `make` in a block.
MAKE_VARIABLES = ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MAKE_TERMOUT", "MAKE_TERMERR",
                  "ARGS", "INPUTS", "PICTURE"]

faults = []


def fault(place, text):
    faults.append(f"{place}: {text}")


def main():
    checks = {"length": check_length, "links": check_links, "targets": check_targets, "names": check_names,
              "compatibility": check_compatibility, "blocks": check_blocks}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(checks), help="the checks to make, by name, with commas between")
    asked = parser.parse_args().only.split(",")
    if unknown := set(asked) - set(checks):
        parser.error(f"no such checks: {', '.join(sorted(unknown))}; there are {', '.join(checks)}")
    for name, check in checks.items():
        if name in asked:
            print(f"Checking {name}", flush=True)
            check()
    for text in faults:
        print(text, file=sys.stderr)
    if faults:
        sys.exit(f"The documentation has {len(faults)} faults.")
    print("The documentation is right.")


# --- Markdown -----------------------------------------------------------------------------------------------------

class Block:
    """A fenced block."""

    def __init__(self, file, line, language, comment):
        self.file, self.line, self.language, self.comment = file, line, language, comment
        self.lines = []

    @property
    def place(self):
        return f"{self.file}:{self.line}"

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"


def markdown_files():
    """The Markdown files of the repository, as paths from its root."""
    listed = run_git("ls-files", "--cached", "--others", "--exclude-standard", "*.md").split("\n")
    return [pathlib.PurePosixPath(name) for name in listed if name and (PROJECT / name).is_file()]


def guides():
    return [file for file in markdown_files() if file.parent in (pathlib.PurePosixPath("."), pathlib.PurePosixPath("docs"))]


def run_git(*arguments):
    return subprocess.run(["git", *arguments], cwd=PROJECT, check=True, capture_output=True, text=True).stdout.strip()


def read(file):
    """(the text without its fenced blocks, the blocks)."""
    prose, blocks, block, end, comment = [], [], None, None, ""
    for number, line in enumerate((PROJECT / file).read_text().splitlines(), 1):
        match = FENCE.match(line)
        if block is None and match:
            block, end, indent = Block(file, number, match["language"], comment), match["fence"], len(match["indent"])
        elif block is not None and line.strip() == end:
            blocks.append(block)
            block = None
        elif block is not None:
            block.lines.append(line[indent:] if line[:indent].isspace() else line)
        else:
            prose.append(line)
        if line.strip():
            comment = line.strip()
    if block is not None:
        fault(block.place, "the block has no end")
    return "\n".join(prose), blocks


def without_code(text):
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


def anchors(file):
    """The anchors that GitHub gives the headings."""
    found = {}
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", read(file)[0], re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


# --- what needs nothing but the files -----------------------------------------------------------------------------

def check_length():
    lines = len((PROJECT / "README.md").read_text().splitlines())
    if lines > README_LINES:
        fault("README.md", f"expected at most {README_LINES} lines, found {lines}: move something to a guide in docs/")


def check_links():
    for file in markdown_files():
        text = without_code(read(file)[0])
        for target in re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            found = (PROJECT / file.parent / path) if path else PROJECT / file
            if not found.exists():
                fault(file, f"the link {target} leads nowhere")
            elif anchor and found.suffix == ".md" and anchor not in anchors(os.path.relpath(found, PROJECT)):
                fault(file, f"the link {target} leads to no heading of {path or file}")


def check_targets():
    rules = re.findall(r"^([a-z][a-z -]*):(?!=)", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    targets = {name for rule in rules for name in rule.split()}
    for file in guides():
        prose, blocks = read(file)
        spans = [span for _, span in re.findall(r"(`+)(?!`)(.*?)(?<!`)\1(?!`)", prose, re.DOTALL)]
        spans += [line for block in blocks if block.language == "sh" for line in block.lines]
        for span in spans:
            for name in re.findall(r"(?:^|\s|=\S+ )make\s+(?:[A-Z_]+=(?:\"[^\"]*\"|\S+)\s+)*([a-z][a-z-]*)", span):
                if name not in targets:
                    fault(file, f"`make {name}`: the Makefile has no such target")


# --- lists that the code has, too ---------------------------------------------------------------------------------

def sources(pattern):
    """The code of these files of backend/, without its tests."""
    texts = [path.read_text() for path in sorted((PROJECT / "backend").glob(pattern))]
    return "\n".join(re.split(r"^#\[cfg\(test\)\]\s*mod tests \{", text, flags=re.MULTILINE)[0] for text in texts)


def check_names():
    config = sources("config.rs") + sources("config/**/*.rs")
    constants = dict(re.findall(r'const (\w+): &(?:\'static )?str = "([^"]+)";', config))

    def names(found):
        return {literal or constants.get(constant, constant) for literal, constant in found}

    # `("name", ...)` or `(NAME, ...)` in the table, or only the names.
    table = re.search(r"const (?:MODEL_)?PARAMETERS: \[[^=]*= \[(.*?)^\];", config, re.DOTALL | re.MULTILINE)
    parameters = names(re.findall(r'^    \(?(?:"([^"]+)"|([A-Z_]+)),', table[1] if table else "", re.MULTILINE))
    parameters.discard("test_panic")  # for the project's own tests
    known = re.search(r"^const OPTIONS: \[[^=]*= \[(.*?)\];", config, re.DOTALL | re.MULTILINE)
    options = names(re.findall(r'(?:"([a-z0-9-]+)"|([A-Z_]+)),', known[1] if known else ""))
    outputs = set(re.findall(r'=> c"(\w+)"', sources("**/*.rs")))

    def metrics(room):
        return set(re.findall(r'c"(tensorflow_latency_\w+)"', sources(f"{room}/**/*.rs")))

    def compare(file, heading, what, in_code):
        text = (PROJECT / file).read_text()
        section = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        rows = re.findall(r"^\| (`[^|]+) \|", section[1] if section else "", re.MULTILINE)
        in_guide = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
        if not in_code or not in_guide:
            side = "the code" if not in_code else f"{file}, section '{heading}'"
            fault(file, f"no {what} were found in {side}: tools/check_docs.py has to learn where they are now")
            return
        for name in sorted(in_code - in_guide):
            fault(file, f"section '{heading}' lacks the {what[:-1]} `{name}`, which the code has")
        for name in sorted(in_guide - in_code):
            fault(file, f"section '{heading}' has the {what[:-1]} `{name}`, which the code does not have")

    compare("docs/configuration.md", "Model parameters", "parameters", parameters)
    compare("docs/configuration.md", "Backend options", "options", options)
    compare("docs/configuration.md", "Latency outputs", "outputs", outputs)
    compare("docs/adaptive-batching.md", "What to watch", "metrics", metrics("batching"))
    compare("docs/energy.md", "The books", "metrics", metrics("energy"))
    compare("docs/metrics.md", "All metrics", "metrics", metrics("*"))


# --- the table of what works where --------------------------------------------------------------------------------

def check_compatibility():
    """Whether docs/compatibility.md was made with the tests that there are."""
    file = "docs/compatibility.md"
    made = re.search(r"^Made on (\d{4}-\d\d-\d\d) with (\d+) tests\.$", (PROJECT / file).read_text(), re.MULTILINE)
    if not made:
        fault(file, "tells neither its date nor its number of tests. Make it anew: make compatibility")
        return
    date, tests = datetime.date.fromisoformat(made[1]), int(made[2])
    listed = subprocess.run(["cargo", "test", "--quiet", "--release", "--test", "integration", "--", "--list"],
                            cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    if listed.returncode:
        fault(file, "the tests cannot be listed (see above)")
        return
    found = len(re.findall(r": test$", listed.stdout, re.MULTILINE))
    if tests != found:
        fault(file, f"was made with {tests} tests; the suite has {found}. Make it anew: make compatibility")
    # The last commit that added, removed or moved a test, where the history is there.
    changed = run_git("log", "-1", "--format=%cs", "-S#[test]", "--", "tests/integration")
    if changed and date < datetime.date.fromisoformat(changed):
        fault(file, f"was made on {date}; tests have changed since, on {changed}. Make it anew: make compatibility")
    if date > datetime.date.today() + datetime.timedelta(days=1):
        fault(file, f"was made on {date}, which is still to come")


# --- blocks -------------------------------------------------------------------------------------------------------

def check_blocks():
    before = run_git("status", "--porcelain")
    done, with_server = set(), []
    for file in guides():
        for block in read(file)[1]:
            not_run = NOT_RUN.match(block.comment)
            if block.comment.startswith("<!--") and not not_run and block.comment != NEEDS_SERVER:
                fault(block.place, f"the comment before the block is not understood: {block.comment}")
            if block.language == "sh":
                script = block.text
                if not_run and not_run["prefix"]:
                    kept = [line for line in block.lines if not line.startswith(not_run["prefix"])]
                    if kept == block.lines:
                        fault(block.place, f"no line begins with `{not_run['prefix']}`, which is not to be run")
                    script = "\n".join(kept) + "\n"
                elif not_run:
                    continue
                # Several guides may have the same command.
                commands = re.sub(r" +# .*", "", script).strip()
                if block.comment == NEEDS_SERVER:
                    with_server.append(block)
                elif commands not in done:
                    done.add(commands)
                    run(block, ["bash", "-euo", "pipefail", "-c", script], PROJECT)
            elif block.language in CHECKED_LANGUAGES:
                if parses(block) and block.comment == NEEDS_SERVER:
                    with_server.append(block)
            elif block.language not in OTHER_LANGUAGES:
                known = ", ".join(CHECKED_LANGUAGES + OTHER_LANGUAGES)
                fault(block.place, f"the block's language is '{block.language}'; expected one of {known}")
            elif block.language == "text":
                for line in filter(COMMANDS.match, block.lines):
                    fault(block.place, f"`{line}` looks like a command: make it a block of `sh`")
    if with_server:
        run_with_server(with_server)
    if run_git("status", "--porcelain") != before:
        fault("the repository", "a command of the documentation has changed it; see git status")


def parses(block):
    """Whether the block is of its language; else it is a fault."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    parsers = {"python": lambda text: compile(text, block.place, "exec"), "json": json.loads,
               "pbtxt": lambda text: text_format.Parse(text, model_config_pb2.ModelConfig())}
    try:
        parsers[block.language](block.text)
    except (SyntaxError, ValueError, text_format.ParseError) as error:
        fault(block.place, f"the block is no {block.language}: {error}")
        return False
    return True


def run(block, command, folder):
    """Runs a block and returns what it printed; a fault when it fails or takes too long."""
    shown = next((line for line in block.lines if line.strip()), "")
    print(f"  {block.place}: {shown}{' ...' if len(block.lines) > 1 else ''}", end="", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in MAKE_VARIABLES}
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        fault(block.place, f"takes more than {TIME_LIMIT} s. If it has to, mark it: <!-- not run: REASON -->")
        print(f"  longer than {TIME_LIMIT} s")
        return output
    print(f"  {time.monotonic() - started:.1f} s", flush=True)
    if process.returncode:
        tail = "\n    ".join(output.splitlines()[-20:])
        fault(block.place, f"ends with code {process.returncode}:\n    {tail}")
    return output


def run_with_server(blocks):
    from serve import MODEL, write_request
    from tritonserver import ServerError, TritonServer, is_free

    port = int(ADDRESS.rpartition(":")[2])
    ports = [port if is_free(port, "127.0.0.1") else 0, 0, 0]
    try:
        with TritonServer(PROJECT / "model_repository", [MODEL], ports=ports) as server:
            write_request(server.folder / "request.json")
            for block in blocks:
                text = block.text if ports[0] else block.text.replace(ADDRESS, server.http)
                command = [sys.executable, "-c", text]
                if block.language == "sh":
                    command = ["bash", "-euo", "pipefail", "-c", text]
                output = run(block, command, server.folder)
                # curl takes an answer with an error for a success.
                if output.startswith('{"error"'):
                    fault(block.place, f"the server answers {output}")
    except ServerError as error:
        fault("the blocks that need a server", error)


if __name__ == "__main__":
    main()
