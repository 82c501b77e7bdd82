"""Checks, by reading the ELF file, that the backend's library can work in every Triton.

    python tools/check_library.py FILE.so [--glibc 2.31] [--sources backend]

It fails, and lists everything that is wrong, unless

- the library exports the entry points of a backend, all that a server of API 1.0 calls and those later ones that this
  backend answers, and nothing else;
- it needs only the system's own libraries: nothing of Triton, TensorFlow or C++, no search path of its own, and no
  symbol of unknown origin;
- it requires no glibc newer than --glibc;
- its source calls no API function newer than 1.0 without checking that the server has it. The ELF file cannot show this,
  because functions are looked up by name at run time; so the calls are collected from --sources, and the versions from
  the marks in triton-sys/include. tests/library tests the same at run time.
"""

import argparse
import pathlib
import re
import sys

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

PROJECT = pathlib.Path(__file__).resolve().parent.parent
GLIBC = "2.31"  # that of NVIDIA's 21.02 container, the oldest server that this backend supports
SYSTEM_LIBRARIES = re.compile(r"(lib(c|m|dl|pthread|rt)\.so\.\d+|libgcc_s\.so\.1|ld-linux-[a-z0-9-]+\.so\.\d+)")
REQUIRED_ENTRY_POINTS = {f"TRITONBACKEND_{name}" for name in (
    "Initialize", "Finalize", "ModelInitialize", "ModelFinalize", "ModelInstanceInitialize", "ModelInstanceFinalize",
    "ModelInstanceExecute")}
# A server that does not know them does not look for them.
LATER_ENTRY_POINTS = {f"TRITONBACKEND_{name}" for name in ("GetBackendAttribute", "ModelInstanceReady")}
MARK = re.compile(r"\b(TRITON_SINCE_BACKEND|TRITON_SINCE_SERVER|TRITON_ENTRY_POINT)\((\d+),\s*(\d+)\)[^;]*?"
                  r"\b(TRITON(?:BACKEND|SERVER)_\w+)\(")
CALL = re.compile(r"\.\s*(TRITON(?:BACKEND|SERVER)_\w+)\s*\(")
FIRST = (1, 0)


class CheckError(Exception):
    """What is wrong with the library, one fault a line."""


class Library:
    """The contents of the ELF file."""

    def __init__(self, path):
        try:
            with open(path, "rb") as stream:
                elf = ELFFile(stream)
                dynamic = elf.get_section_by_name(".dynamic")
                symbols = elf.get_section_by_name(".dynsym")
                if elf["e_type"] != "ET_DYN" or dynamic is None or symbols is None:
                    raise CheckError(f"{path} is not a shared library")
                tags = list(dynamic.iter_tags())
                self.needed = [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
                self.search_paths = [getattr(tag, tag.entry.d_tag[3:].lower()) for tag in tags
                                     if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH")]
                self.versions = [(library.name, version.name) for section in elf.iter_sections()
                                 if isinstance(section, GNUVerNeedSection)
                                 for library, versions in section.iter_versions() for version in versions]
                self.exported, self.unversioned = self.read_symbols(symbols, elf.get_section_by_name(".gnu.version"))
        except (OSError, ELFError) as error:
            raise CheckError(f"{path} cannot be read as a shared library: {error}") from None

    @staticmethod
    def read_symbols(symbols, versions):
        """Exported names, and names that another library must provide when this one is loaded."""
        exported, unversioned = [], []
        for index, symbol in enumerate(symbols.iter_symbols()):
            binding = symbol["st_info"]["bind"]
            if binding == "STB_LOCAL":
                continue
            if symbol["st_shndx"] != "SHN_UNDEF":
                if symbol["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED"):
                    exported.append(symbol.name)
            # A weak one needs no definition.
            elif binding != "STB_WEAK" and (versions is None or not isinstance(versions.get_symbol(index)["ndx"], int)):
                unversioned.append(symbol.name)
        return sorted(exported), sorted(unversioned)


def read_marks():
    """(API functions that a backend calls, entry points that it exports), name -> version that it came with."""
    called, exported = {}, {}
    for header in sorted((PROJECT / "triton-sys" / "include").glob("*.h")):
        text = re.sub(r"//.*", "", header.read_text())
        for mark, major, minor, name in MARK.findall(re.sub(r"(?m)^\s*#.*", "", text)):
            (exported if mark == "TRITON_ENTRY_POINT" else called)[name] = int(major), int(minor)
    if not called or not REQUIRED_ENTRY_POINTS | LATER_ENTRY_POINTS <= set(exported):
        raise CheckError("The marks in triton-sys/include cannot be read; has their format changed?")
    return called, exported


def check_exports(library, entry_points):
    for name in sorted(REQUIRED_ENTRY_POINTS - set(library.exported)):
        yield f"exports no {name}, which a Triton server of API 1.0 calls"
    for name in sorted(LATER_ENTRY_POINTS - set(library.exported)):
        yield "exports no {}, which servers of API {}.{} call".format(name, *entry_points[name])
    for name in library.exported:
        if name not in entry_points:
            yield f"exports {name}, which is no entry point of a backend: hide it"


def check_needs(library):
    for name in library.needed:
        if not SYSTEM_LIBRARIES.fullmatch(name):
            yield (f"needs the library {name} when it is loaded: only the C library's own may be linked, "
                   "look others up at run time")
    for path in library.search_paths:
        yield f"has the search path {path}, which is the build machine's own: link without RPATH and RUNPATH"
    for name in library.unversioned:
        yield f"needs the symbol {name} of no library in particular: look it up at run time"


def newest_glibc(library):
    numbers = [version[6:] for _, version in library.versions if re.fullmatch(r"GLIBC_\d+(\.\d+)+", version)]
    return max(numbers, key=number, default="0")


def number(version):
    return tuple(int(part) for part in version.split("."))


def check_glibc(library, limit):
    for file, version in sorted(set(library.versions)):
        if not version.startswith("GLIBC_"):
            continue
        asked = version[6:]
        if not re.fullmatch(r"\d+(\.\d+)+", asked):
            yield f"needs {version} of {file}, which not every glibc has"
        elif number(asked) > number(limit):
            yield f"needs glibc {asked} ({version} of {file}), but {limit} has to do: build it with `make dist`"


def check_calls(sources, since):
    """(faults, functions of API 1.0 that are called, later ones that are)"""
    faults, first, later = [], set(), set()
    for file in sorted(sources.rglob("*.rs")):
        text = re.sub(r"//.*", lambda comment: " " * len(comment[0]), file.read_text())
        for call in CALL.finditer(text):
            name = call[1]
            place = f"{file.name}:{text.count(chr(10), 0, call.start()) + 1}"
            if name not in since:
                faults.append(f"calls {name} ({place}), which triton-sys/include does not know")
            elif since[name] == FIRST:
                first.add(name)
            else:
                later.add(name)
                start = max(text.rfind("fn ", 0, call.start()), 0)
                if not re.search(rf"\.{name}\s*\.is_(ok|err)\(", text[start:call.start()]):
                    version = "{}.{}".format(*since[name])
                    faults.append(f"calls {name} ({place}) of API {version}: ask for it first, "
                                  "a server of API 1.0 lacks it")
    if not first:
        faults.append(f"calls no API function in {sources}: is that the folder of the sources?")
    return faults, sorted(first), sorted(later)


def report(path, glibc=GLIBC, sources=PROJECT / "backend"):
    """A short description of a correct library.

    Raises CheckError with everything that is wrong.
    """
    called, entry_points = read_marks()
    library = Library(path)
    call_faults, first, later = check_calls(pathlib.Path(sources), called)
    faults = [*check_exports(library, entry_points), *check_needs(library), *check_glibc(library, glibc), *call_faults]
    if faults:
        raise CheckError("\n".join(f"{pathlib.Path(path).name} {fault}" for fault in faults))
    return "\n".join([
        f"{pathlib.Path(path).name} is as it should be:",
        f"  exports  {len(library.exported)} entry points of a Triton backend, nothing else",
        f"  needs    {' '.join(library.needed)}",
        f"  glibc    {newest_glibc(library)} or newer ({glibc} was the limit)",
        f"  API      {len(first)} functions of 1.0; where the server has it: {' '.join(later) or 'none'}",
    ])


def main():
    parser = argparse.ArgumentParser(description="Checks that the backend's library fits every Triton.")
    parser.add_argument("library", type=pathlib.Path)
    parser.add_argument("--glibc", default=GLIBC, metavar="VERSION",
                        help=f"the newest that it may require; default: {GLIBC}")
    parser.add_argument("--sources", default=PROJECT / "backend", type=pathlib.Path, metavar="FOLDER",
                        help="the Rust sources whose API calls are checked; default: this project's")
    options = parser.parse_args()
    try:
        print(report(options.library, options.glibc, options.sources))
    except CheckError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
