"""Where things are."""

import os
import pathlib

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
RULES = PROJECT / "deploy" / "monitoring" / "rules.yaml"
SCALED_OBJECT = PROJECT / "deploy" / "keda" / "deployment" / "scaledobject.yaml"
TOOL = pathlib.Path(os.environ.get("TL_EXPERIMENT") or PROJECT / "target" / "release" / "triton-experiment")
WORK = PROJECT / "target" / "fleet"
