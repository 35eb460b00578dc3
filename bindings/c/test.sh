#!/usr/bin/env bash
# Builds the C host against the static library, and runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build -q -p argus-ffi
target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
${CC:-cc} -std=c11 -Wall -Wextra -Werror -pedantic -Iargus-ffi/include bindings/c/parse.c "$target/debug/libargus.a" -lpthread -ldl -lm -o "$work/parse"
expect() { # code, part of the output, command
  local code=0 output
  output=$("$work/parse" "$3") || code=$?
  if [ "$code" != "$1" ] || [[ $output != *"$2"* ]]; then
    echo "$3: expected code $1 and $2, got code $code and $output" >&2
    exit 1
  fi
}
expect 0 '"kind":"scale"' 'kubectl scale deploy/web -n shop --replicas=2'
expect 0 '"kind":"manual"' 'kubectl drain node-1'
expect 2 '"position":33' 'kubectl delete pod/web-1 -n shop --force'
expect 2 '"hint":' 'rm -rf /'
"$work/parse" 2>/dev/null && exit 1
echo "C: 5 passed, 0 failed"
