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
if command -v npx >/dev/null; then
  # litellm and matplotlib leave a part of their own types out.
  cat >pyrightconfig.json <<JSON
{"typeCheckingMode": "strict", "include": ["examples"], "venvPath": "$here", "venv": ".venv",
 "reportUnknownMemberType": "none", "reportUnknownVariableType": "none", "reportUnknownArgumentType": "none"}
JSON
  npx --yes pyright@1.1.414
elif [ "${ARGUS_TEST_ALL:-}" = 1 ]; then
  echo "FAILED: pyright needs npm (\`apt-get install npm\`)" >&2
  exit 1
else
  echo "skipped: pyright; install npm (\`apt-get install npm\`)"
fi
# The README's example runs.
sed -n '/^```python$/,/^```$/p' README.md | grep -v '^```' > readme.py
"$here/.venv/bin/python" readme.py
