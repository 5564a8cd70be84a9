#!/usr/bin/env bash
# Finds or builds a real Helm, for the suite of the chart.
#
# Looks at $HELM first, then into a folder outside the checkout, which is named by the version; builds it there with Go, from
# the module that tests/kubernetes/helm/go.mod names, and says how long that took. Nothing half made is left: what is built
# gets its name last. The second time it only looks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
module=$here/kubernetes/helm
. "$here/go.sh"

if [ -n "${HELM:-}" ]; then
  [ -x "$HELM" ] || fail "HELM=$HELM is no program; unset it, and helm is built"
  exit 0
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/haldane/helm
version=$(awk '$1 == "helm.sh/helm/v4" { print $2 }' "$module/go.mod")
folder=$cache/$version
[ -x "$folder/helm" ] && exit 0

find_go "$cache" "helm; or set HELM"

# Another setup that builds at the same time is waited for, then there is nothing left to do.
exec 9>"$cache/.lock"
flock 9
[ -x "$folder/helm" ] && exit 0

# Compiled packages are kept between interrupted builds, and removed after the last.
export GOCACHE=$cache/go-build
begin=$SECONDS
echo "setup: building helm $version (Go, once; 7 minutes on two idle cores)"
mkdir -p "$folder"
trap 'rm -f "$folder"/.helm*' EXIT
(cd "$module" && CGO_ENABLED=0 nice -n 19 "$go" build -trimpath \
  -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" -o "$folder/.helm.$$" helm.sh/helm/v4/cmd/helm) ||
  fail "helm $version could not be built; what Go said stands above"
mv "$folder/.helm.$$" "$folder/helm"
rm -rf "$GOCACHE"
echo "setup: built helm in $((SECONDS - begin)) s, into $folder"
