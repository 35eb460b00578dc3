#!/usr/bin/env bash
# Runs the Python tests from outside the checkout, so that the installed wheel is what is tested.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
cp -r "$here/tests" "$here/pyproject.toml" "$here/README.md" "$elsewhere"
cp -r "$here/../../examples/python" "$elsewhere/examples"
cd "$elsewhere"
ARGUS_CHECKOUT=$here/../.. "$here/.venv/bin/python" -m pytest -p no:cacheprovider
"$here/.venv/bin/python" -m mypy --strict --no-error-summary tests examples
"$here/.venv/bin/python" -m mypy.stubtest argus
# The README's example runs.
sed -n '/^```python$/,/^```$/p' README.md | grep -v '^```' > readme.py
"$here/.venv/bin/python" readme.py
