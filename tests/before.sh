#!/usr/bin/env bash
# Builds the engine of an earlier commit, target/before/haldane, for the suite `skew`. Twice is no work.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse --verify "${1:-HEAD~1}^{commit}")
folder=target/before
if [ -x "$folder/haldane" ] && [ "$(cat "$folder/commit" 2>/dev/null)" = "$commit" ]; then
  echo "the engine of $commit: built already"
  exit 0
fi
echo "the engine of $commit: building it (as long as a first build)"
rm -rf "$folder/source" && mkdir -p "$folder/source"
git archive "$commit" | tar -x -C "$folder/source"
CARGO_TARGET_DIR="$PWD/$folder/target" "${CARGO:-cargo}" build --manifest-path "$folder/source/Cargo.toml" \
  --workspace --bin haldane
cp "$folder/target/debug/haldane" "$folder/haldane"
echo "$commit" >"$folder/commit"
