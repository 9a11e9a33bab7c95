#!/bin/sh
# What systemd does to containers: nothing, unless it's told to stop berth.service. Run in the virtual machine.
set -eu
say() { echo "systemd: $*"; }
fail() { say "FAILED: $*"; systemctl status berth.service || true; berth ps -a || true; exit 1; }
runs() { test "$(berth inspect -f '{{.State.Status}}' "$1")" = running || fail "$1 doesn't run: $2"; }
pid() { berth inspect -f '{{.State.Pid}}' "$1"; }
unset BERTH_BIN
install -m 755 berth /usr/local/bin/berth
PATH=/usr/local/bin:$PATH

berth system install
# The reload that install asks for takes a moment.
until systemctl cat berth.service >/dev/null 2>&1; do sleep 0.2; done
systemctl is-enabled berth.service
systemctl start berth.service
systemctl is-active berth.service
say "installed"

# Called from a unit that ends, as from a login.
orderly="trap 'echo closed >>/closed; exit 0' TERM; touch /ready; while :; do sleep 0.1; done"
systemd-run --quiet --unit=caller2 --property=Type=oneshot --property=RemainAfterExit=yes --property=KillMode=control-group \
    /usr/local/bin/berth run -d --name web --restart unless-stopped @host sh -c "$orderly"
systemd-run --quiet --scope --unit=login /usr/local/bin/berth run -d --name plain @host sleep 1000
until berth diff web | grep -q 'A /ready'; do sleep 0.2; done
first=$(pid web)
systemctl stop caller2.service
systemctl stop login.scope 2>/dev/null || true
runs web "the unit that called berth was stopped"
runs plain "the login that called berth has ended"
systemctl daemon-reload
runs web "daemon-reload"
systemctl daemon-reexec
runs web "daemon-reexec"
test "$(pid web)" = "$first" || fail "web is another one by now"
berth exec web true || fail "exec after daemon-reexec"
berth doctor -q || fail "doctor"
say "units, logins and reloads harm no container"

systemctl stop berth.service
test "$(berth inspect -f '{{.State.Status}} {{.State.ExitCode}}' web)" = "exited 0" || fail "web wasn't stopped in order"
berth diff web | grep -q 'A /closed' || fail "web had no time to close"
systemctl start berth.service
runs web "berth.service was started again"
test "$(berth inspect -f '{{.State.Status}}' plain)" = exited || fail "plain runs without a policy"
say "stopped in order, and started again"

berth system uninstall
runs web "uninstall"
test ! -e /etc/systemd/system/berth.service || fail "the unit is still there"
berth rm -f web plain
say "passed"
