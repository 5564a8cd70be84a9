#!/usr/bin/env bash
# Finds or builds a real Kubernetes API server, its controllers and kubectl, and the CRDs of Istio and of the Gateway API.
#
# Looks into $KUBEBUILDER_ASSETS first, then into a folder outside the checkout, which is named by the version; builds what
# is missing there with Go, from the modules that tests/kubernetes/go.mod names, and says how long that took. Nothing half
# made is left: what is built gets its name last. The second time it only looks. etcd is a Debian package: tests/setup.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
modules=$here/kubernetes
. "$here/go.sh"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/haldane/kubernetes
programs=(kube-apiserver kubectl kube-controller-manager)
is_there() { # program
  { [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; } || [ -x "$folder/$1" ]
}

version_of() { # module go.mod
  awk -v module="$1" '$1 == "require" { $1 = ""; $0 = $0 } $1 == module { print $2 }' "$modules/$2"
}

version=$(version_of k8s.io/kubernetes go.mod)
folder=$cache/$version
istio=$cache/crds/istio-$(version_of istio.io/api crds/go.mod)
gateway_api=$cache/crds/gateway-api-$(version_of sigs.k8s.io/gateway-api crds/go.mod)

missing=()
for program in "${programs[@]}"; do
  is_there "$program" || missing+=("$program")
done
for crds in "$istio" "$gateway_api"; do
  [ -d "$crds" ] || missing+=("$(basename "$crds")")
done
[ ${#missing[@]} -eq 0 ] && exit 0

find_go "$cache" "${missing[*]}; or set KUBEBUILDER_ASSETS"

# === the programs ===

# Compiled packages are kept between interrupted builds, and removed after the last.
export GOCACHE=$cache/go-build
IFS=. read -r major minor _ <<<"${version#v}"
flags="-s -w"
for stamp in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=" -X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor"
done

build() { # program
  local begin=$SECONDS
  echo "setup: building $1 $version (Go, once; the first takes 6 minutes on two idle cores, the others 2)"
  mkdir -p "$folder"
  (cd "$modules" && CGO_ENABLED=0 nice -n 19 "$go" build -trimpath -ldflags "$flags" -o "$folder/.$1.$$" "k8s.io/kubernetes/cmd/$1") ||
    fail "$1 $version could not be built; what Go said stands above"
  mv "$folder/.$1.$$" "$folder/$1"
  echo "setup: built $1 in $((SECONDS - begin)) s, into $folder"
}

# Another setup that builds at the same time is waited for, then there is nothing left to do.
exec 9>"$cache/.lock"
flock 9
trap 'rm -f "$folder"/.kube*' EXIT
for program in "${programs[@]}"; do
  is_there "$program" || build "$program"
done
rm -rf "$GOCACHE"

# === the CRDs ===

copy_crds() { # to module what
  [ -d "$1" ] && return
  (cd "$modules/crds" && "$go" mod download "$2") || fail "$2 could not be downloaded; what Go said stands above"
  local from
  from=$(cd "$modules/crds" && "$go" list -m -f '{{.Dir}}' "$2")
  rm -rf "$1.new"
  mkdir -p "$1.new"
  cp "$from"/$3 "$1.new/"
  chmod -R u+w "$1.new"
  mv "$1.new" "$1"
  echo "setup: copied the CRDs of $(basename "$1") into $1"
}

copy_crds "$istio" istio.io/api kubernetes/customresourcedefinitions.gen.yaml
copy_crds "$gateway_api" sigs.k8s.io/gateway-api 'config/crd/standard/*.yaml'
