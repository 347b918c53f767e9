"""Whether this instance is ready: 0, or 1 and why. By the name that callers use, since no other is answered."""

import os
import sys
from http.client import HTTPConnection, HTTPException

PATIENCE_SECONDS = 3


def main() -> None:
    """Ask /readyz."""
    name = os.environ.get("ALLOWED_HOSTS", "localhost").split(",")[0].strip().lstrip(".")
    connection = HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8088")), timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/readyz", headers={"Host": name})
        answer = connection.getresponse()
    except (OSError, HTTPException) as error:
        sys.exit(f"/readyz cannot be asked: {type(error).__name__}")
    finally:
        connection.close()
    if answer.status != 200:
        sys.exit(f"/readyz answers {answer.status}")


if __name__ == "__main__":
    main()
