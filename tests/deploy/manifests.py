"""Reads what is in deploy/, as kustomize makes it, and checks each object against its kind's schema."""

import functools
import importlib.resources
import json
import pathlib
import re
import shutil
import subprocess

import crds

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
DEPLOY = PROJECT / "deploy"
# The oldest that has all fields that are used, and the newest that is known.
OLDEST = "1.29"


class Render:
    """The objects of one kustomization."""

    def __init__(self, name, objects):
        self.name, self.objects = name, objects

    def of(self, *kinds):
        return [found for found in self.objects if found["kind"] in kinds]


def kustomizations():
    return sorted(file.parent.relative_to(DEPLOY) for file in DEPLOY.rglob("kustomization.yaml"))


def render(folder):
    import yaml

    made = subprocess.run([shutil.which("kubectl"), "kustomize", DEPLOY / folder], capture_output=True, text=True)
    if made.returncode:
        raise ValueError(f"kubectl kustomize deploy/{folder}: {made.stderr.strip()}")
    return Render(str(folder), [found for found in yaml.load_all(made.stdout, unique_keys()) if found])


def raw_files():
    """The objects as they are written, without kustomize."""
    import yaml

    files = [file for file in sorted(DEPLOY.rglob("*.yaml"))
             if file.name not in ("kustomization.yaml", "rules.yaml") and "tests" not in file.parts]
    return [Render(str(file.relative_to(DEPLOY)), [found for found in yaml.load_all(file.read_text(), unique_keys()) if found])
            for file in files]


@functools.cache
def unique_keys():
    """A loader that refuses a key that is there twice, of which YAML's usual one takes the last."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            names = [key.value for key, _ in node.value]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{node.start_mark}: {', '.join(sorted(twice))} is there twice")
            return super().construct_mapping(node, deep)

    return Loader


def schema_faults(render):
    """What the API server would refuse, or drop."""
    return [f"{render.name}: {each.get('kind')}/{each.get('metadata', {}).get('name')}: {text}"
            for each in render.objects for text in object_faults(each)]


def object_faults(each):
    import kubernetes_validate

    key = (each.get("apiVersion"), each.get("kind"))
    if key in crds.SCHEMAS:
        return [place(error) for error in validator(key).iter_errors(each)]
    found = []
    for version in (OLDEST, kubernetes_validate.latest_version()):
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"in Kubernetes {version}: {place(error)}")
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"Kubernetes {version} has no {key[0]} {key[1]}, and tests/deploy/crds.py does not know it")
    return found


def place(error):
    return f"{'.'.join(map(str, error.path)) or 'it'}: {error.message}"


@functools.cache
def validator(key):
    """Of a custom kind, with Kubernetes' own definitions at hand."""
    import jsonschema
    from referencing import Registry, Resource

    folder = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema"
    names = [entry.name for entry in folder.iterdir() if re.fullmatch(r"v[\d.]+-local-strict", entry.name)]
    newest = max(names, key=lambda name: tuple(map(int, re.findall(r"\d+", name))))
    definitions = json.loads((folder / newest / "_definitions.json").read_text())
    schema = {**crds.SCHEMAS[key], "$schema": definitions["$schema"]}
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(definitions) @ Registry())
