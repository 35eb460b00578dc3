#!/usr/bin/env bash
# Installs the C library into an empty folder, and builds and runs hosts against what is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
CC=${CC:-cc} CXX=${CXX:-c++}
passed=0
ok() { passed=$((passed + 1)); }
fail() { echo "C: $1" >&2; exit 1; }
skip() {
  if [ "${ARGUS_TEST_ALL:-}" = 1 ]; then fail "$1"; fi
  echo "skipped: $1"
}

bindings/c/install.sh "$prefix" dev
ARGUS_LIBRARY=$prefix/lib/libargus.so cargo test --locked -q -p argus-ffi --test header -- --include-ignored >"$work/log" 2>&1 || fail "$(cat "$work/log")"
ok

# The header needs nothing before it, in either language.
echo '#include <argus.h>' >"$work/only.c"
echo '#include <argus.hpp>' >"$work/only.cpp"
strict="-Wall -Wextra -Werror -pedantic -I$prefix/include"
# shellcheck disable=SC2086
$CC -std=c11 $strict -fsyntax-only "$work/only.c" || fail "the header is no C"
# shellcheck disable=SC2086
$CXX -std=c++17 $strict -Wconversion -fsyntax-only "$work/only.cpp" || fail "the header is no C++"
ok

# Every function with what a careless host hands over, with the sanitizers: C and Rust share one allocator.
# shellcheck disable=SC2086
$CC -std=c11 -g -fsanitize=address,undefined -fno-sanitize-recover=all $strict bindings/c/boundary.c "$prefix/lib/libargus.a" -lpthread -ldl -lm -o "$work/boundary-asan"
mkdir "$work/asan"
"$work/boundary-asan" "$work/asan" || fail "a careless host, under the sanitizers"
ok
if command -v valgrind >/dev/null; then
  # shellcheck disable=SC2086
  $CC -std=c11 -g $strict bindings/c/boundary.c -L"$prefix/lib" -largus -lpthread -Wl,-rpath,"$prefix/lib" -o "$work/boundary"
  mkdir "$work/valgrind"
  valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --error-exitcode=9 "$work/boundary" "$work/valgrind" ||
    fail "a careless host, under valgrind"
  ok
else
  skip "the C hosts under valgrind: install it (\`apt-get install valgrind\`)"
fi

# The examples, as somebody builds them who has only what was installed.
run() { # folder of the two programs
  "$1/walk" "$work/trail-$2" >"$work/out" || fail "$(cat "$work/out")"
  grep -q '"summary":"Fixed: ' "$work/out" && grep -q 'The trail is whole: ' "$work/out" || fail "$(cat "$work/out")"
  [ "$(wc -l <"$work/trail-$2.log")" = "$(sed -n 's/The trail is whole: \([0-9]*\) records./\1/p' "$work/out")" ] || fail "the host's log lacks records"
  "$1/refused" "$work/refused-$2" >"$work/out" || fail "$(cat "$work/out")"
  grep -q 'namespace' "$work/out" || fail "$(cat "$work/out")"
  ok
}
cp -r examples/c "$work/make"
if command -v pkg-config >/dev/null; then
  CFLAGS=-Werror CXXFLAGS=-Werror PKG_CONFIG_PATH=$prefix/lib/pkgconfig make -s -C "$work/make"
  LD_LIBRARY_PATH=$prefix/lib run "$work/make" make
else
  skip "the C examples by make: install pkg-config (\`apt-get install pkg-config\`)"
fi
if command -v cmake >/dev/null; then
  cmake -S examples/c -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
  cmake --build "$work/cmake" >/dev/null
  run "$work/cmake" cmake
else
  skip "the C examples by CMake: install it (\`apt-get install cmake\`)"
fi
# shellcheck disable=SC2086
$CC -std=c11 -g -fsanitize=address,undefined -fno-sanitize-recover=all $strict examples/c/walk.c "$prefix/lib/libargus.a" -lpthread -ldl -lm -o "$work/walk-asan"
"$work/walk-asan" "$work/trail-asan" >/dev/null || fail "the C++ host, under the sanitizers"
ok
echo "C: $passed passed, 0 failed"
