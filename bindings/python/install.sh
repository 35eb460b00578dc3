#!/usr/bin/env bash
# Builds the wheel and installs it into a fresh virtual environment, .venv beside this file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
rm -rf .venv
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check 'maturin>=1.16,<2' 'mypy>=1.18,<2' 'pytest>=8,<10' \
  'fastapi>=0.115' 'httpx2' 'argus-ops==0.4.0' 'matplotlib>=3.10' 'mcp>=2.3,<3' 'types-pyyaml'
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
.venv/bin/maturin build --quiet --locked --out "$wheels"
.venv/bin/pip install --quiet --disable-pip-version-check "$wheels"/argus_remediation-*.whl
