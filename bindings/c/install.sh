#!/usr/bin/env bash
# Builds the C library and installs it: install.sh PREFIX [PROFILE]. Programs find it with pkg-config or CMake.
set -euo pipefail
prefix=$(mkdir -p "${1:?usage: install.sh PREFIX [PROFILE]}" && cd "$1" && pwd)
profile=${2:-embed}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# One after the other: what is built for both at once is a fifth larger.
build() { cargo rustc --locked -q -p argus-ffi --lib --profile "$profile" --crate-type "$1" "${@:2}"; }
build staticlib
# Addresses that the loader fills in take a tenth of the space, where it can read them packed: in glibc 2.36 and later.
packed=()
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2 || true)
if [ -n "$glibc" ] && printf '2.36\n%s\n' "$glibc" | sort -CV; then packed=(-- -C link-arg=-Wl,-z,pack-relative-relocs); fi
build cdylib "${packed[@]}"
built=${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
private="-lpthread -ldl -lm"

install -d "$prefix/include" "$prefix/lib/pkgconfig" "$prefix/lib/cmake/Argus"
install -m 644 argus-ffi/include/argus.h bindings/c/argus.hpp "$prefix/include"
install -m 644 "$built/libargus.a" "$prefix/lib"
install -m 755 "$built/libargus.so" "$prefix/lib/libargus.so.$version"
ln -sf "libargus.so.$version" "$prefix/lib/libargus.so.1"
ln -sf libargus.so.1 "$prefix/lib/libargus.so"

cat >"$prefix/lib/pkgconfig/argus.pc" <<PC
prefix=\${pcfiledir}/../..
Name: argus
Description: Lets an AI fix a Kubernetes cluster without letting it break it
Version: $version
Cflags: -I\${prefix}/include
Libs: -L\${prefix}/lib -largus
Libs.private: $private
PC

cat >"$prefix/lib/cmake/Argus/ArgusConfig.cmake" <<CMAKE
get_filename_component(_argus "\${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET Argus::argus)
  add_library(Argus::argus SHARED IMPORTED)
  set_target_properties(Argus::argus PROPERTIES
    IMPORTED_LOCATION "\${_argus}/lib/libargus.so.$version"
    IMPORTED_SONAME libargus.so.1
    INTERFACE_INCLUDE_DIRECTORIES "\${_argus}/include")
  add_library(Argus::argus-static STATIC IMPORTED)
  set_target_properties(Argus::argus-static PROPERTIES
    IMPORTED_LOCATION "\${_argus}/lib/libargus.a"
    INTERFACE_INCLUDE_DIRECTORIES "\${_argus}/include"
    INTERFACE_LINK_LIBRARIES "${private// /;}")
endif()
CMAKE

cat >"$prefix/lib/cmake/Argus/ArgusConfigVersion.cmake" <<CMAKE
set(PACKAGE_VERSION $version)
if(PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
CMAKE
