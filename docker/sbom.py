"""Print the software bill of materials (CycloneDX 1.6, JSON) of what requirements.txt locks. `make sbom`"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator import __version__

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> Iterator[Component]:
    """Yield each locked package, with the hashes of its files."""
    for entry in re.split(r"^(?=\S+==)", lock, flags=re.MULTILINE):
        if locked := _LOCKED.match(entry):
            name, version = locked.groups()
            url = PackageURL("pypi", name=name, version=version)
            hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in _HASH.findall(entry)]
            page = XsUri(f"https://pypi.org/project/{name}/{version}/")
            files = ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=page, hashes=hashes)
            yield Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                purl=url,
                bom_ref=url.to_string(),
                external_references=[files],
            )


def document(lock: str) -> str:
    """Return the bill of materials of a lock file."""
    service = Component(
        name="orchestrator", version=__version__, type=ComponentType.APPLICATION, bom_ref=f"orchestrator@{__version__}"
    )
    bom = Bom(components=components(lock))
    bom.metadata.component = service
    bom.register_dependency(service, bom.components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


if __name__ == "__main__":
    sys.stdout.write(document(Path(sys.argv[1]).read_text(encoding="utf-8")) + "\n")
