"""The licences of the crates linked into the library, as one text for the archive of `make dist`."""

import json
import pathlib

LICENCE_FILES = ("LICEN[CS]E*", "COPYING*", "COPYRIGHT*", "NOTICE*", "UNLICENSE*")
HEAD = """\
Linked into {library}, beside this project's own code (LICENSE):

- Rust's standard library (https://www.rust-lang.org), MIT or Apache-2.0
- LLVM's libunwind and compiler-rt as zig has them (https://ziglang.org), Apache-2.0 with LLVM exceptions
{list}
Their texts follow; a text that several of them have stands once.
"""


def write(metadata_text, library):
    """metadata_text: `cargo metadata --filter-platform TARGET`, which lists the crates for one target only."""
    metadata = json.loads(metadata_text)
    crates = sorted(linked(metadata), key=lambda crate: (crate["name"], crate["version"]))
    names = {crate["id"]: f"{crate['name']} {crate['version']}" for crate in crates}
    lines = [f"- {names[crate['id']]} ({crate['repository'] or crate['homepage'] or 'crates.io'}), {crate['license']}\n"
             for crate in crates]
    owners = {}
    for crate in crates:
        for text in licence_texts(pathlib.Path(crate["manifest_path"]).parent):
            owners.setdefault(text, []).append(names[crate["id"]])
    rule = "-" * 80
    texts = [f"{rule}\n{', '.join(who)}\n{rule}\n\n{text}\n\n" for text, who in owners.items()]
    return HEAD.format(library=library, list="".join(lines)) + "\n" + "".join(texts)


def linked(metadata):
    """The external crates that become part of the library: no build tools, macros or test dependencies."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    reached, waiting = set(), [metadata["resolve"]["root"]]
    while waiting:
        node = waiting.pop()
        is_macro = any("proc-macro" in target["kind"] for target in packages[node]["targets"])
        if node in reached or is_macro:
            continue
        reached.add(node)
        waiting += [dependency["pkg"] for dependency in nodes[node]["deps"]
                    if any(kind["kind"] is None for kind in dependency["dep_kinds"])]
    return [packages[node] for node in reached if packages[node]["source"]]


def licence_texts(folder):
    files = {file for pattern in LICENCE_FILES for file in folder.glob(pattern) if file.is_file()}
    return [file.read_text(errors="replace").strip() for file in sorted(files)]
