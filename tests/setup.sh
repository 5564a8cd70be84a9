#!/usr/bin/env bash
# Installs what is missing, and says what it installs. With arguments: those tools alone.
#
# Debian packages: prometheus, haproxy, victoria-metrics, etcd-server, lua5.4, jq. Cargo tools, on demand: cargo-deny, cargo-mutants.
# The Kubernetes API server is no package: tests/kubernetes.sh builds it.
# Services are not started by the packages: every suite starts its own, on loopback.
set -euo pipefail

need_package() { # program package
  command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2")
}

need_tool() { # tool version
  command -v "$1" >/dev/null 2>&1 && return
  echo "setup: installing $1 $2 (cargo install, a few minutes, once)"
  cargo install --locked --quiet "$1" --version "$2"
}

if [ $# -gt 0 ]; then
  for tool in "$@"; do
    case "$tool" in
      cargo-deny) need_tool cargo-deny 0.20.2 ;;
      cargo-mutants) need_tool cargo-mutants 27.1.0 ;;
      *) echo "setup: unknown tool $tool" >&2; exit 64 ;;
    esac
  done
  exit 0
fi

missing=()
need_package cc build-essential
need_package prometheus prometheus
need_package haproxy haproxy
need_package victoria-metrics victoria-metrics
need_package etcd etcd-server
need_package lua5.4 lua5.4
need_package jq jq
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "setup: missing: ${missing[*]}; install them: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "setup: installing ${missing[*]} (apt)"
# Packages must not start their services here; an existing policy is left as it is.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
