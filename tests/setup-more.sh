#!/usr/bin/env bash
# Finds or builds what the suites of `make test-more` need beside all else: components that take many minutes once.
#
# One line for each; every step looks first, and says what it does.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

steps=(
  helm.sh # a real Helm, for the chart
  mesh.sh # istiod and Envoy, for releases through a mesh
)

for step in "${steps[@]}"; do
  "$here/$step"
done
