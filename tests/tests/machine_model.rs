//! The machine against every environment: a breadth-first walk over all that can happen to a small
//! rollout, with faults in any order, and the invariants checked on every turn.
//!
//! One exploration for each mixture of faults, so that each stays small enough to be exhausted.
//! From every state the faults are then stopped, and the rollout must come to an end.

#[path = "machine_model/env.rs"]
mod env;
#[path = "machine_model/explore.rs"]
mod explore;
#[path = "machine_model/invariants.rs"]
mod invariants;
#[path = "machine_model/liveness.rs"]
mod liveness;

use haldane_model::{Gap, GapPolicy, OnDeadline, OnInconclusive, Plan, Step, Weight};
use haldane_tests::world::{external, manual, percent, plan};

use self::{
    env::{Budget, TICK},
    explore::explore,
};

/// 50 and 100 %, held for a tick each, watched for one.
fn small() -> Plan {
    let mut plan = plan();
    plan.steps.remove(0);
    plan.steps.iter_mut().for_each(|step| step.bake = TICK);
    plan.watch = TICK;
    plan.progress_deadline = TICK * 8;
    plan
}

fn with(change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = small();
    change(&mut plan);
    plan
}

/// Seven ticks are enough to end a calm rollout.
const CALM: Budget = Budget {
    crash: 0,
    swap: 0,
    write: 0,
    foreign: 0,
    request: 0,
    verdict: 0,
    side: 0,
    spec: 0,
    lease: 0,
    clock: 0,
    alert: 0,
    ticks: 7,
};

#[test]
fn a_calm_rollout_ends() {
    explore("calm", &small(), CALM);
}

#[test]
fn crashes_lost_records_and_lost_writes() {
    explore("crash, swap, write", &small(), Budget { crash: 1, swap: 1, write: 1, ..CALM });
}

#[test]
fn crashes_and_two_odd_verdicts() {
    explore("crash, verdict", &small(), Budget { crash: 1, verdict: 2, ticks: 6, ..CALM });
}

#[test]
fn lost_records_and_odd_verdicts() {
    explore("swap, verdict", &small(), Budget { swap: 2, verdict: 1, ticks: 6, ..CALM });
}

#[test]
fn foreign_writes_among_late_ones() {
    explore("foreign, write", &small(), Budget { foreign: 2, write: 1, ticks: 6, ..CALM });
}

#[test]
fn three_foreign_writes_and_a_person() {
    explore("foreign, request", &small(), Budget { foreign: 3, request: 1, ticks: 5, ..CALM });
}

#[test]
fn two_requests_of_any_kind() {
    explore("requests", &small(), Budget { request: 2, ticks: 6, ..CALM });
}

#[test]
fn a_request_and_an_odd_verdict() {
    explore("request, verdict", &small(), Budget { request: 1, verdict: 1, crash: 1, ..CALM });
}

#[test]
fn dying_and_changing_sides() {
    explore("side, verdict", &small(), Budget { side: 2, verdict: 1, ticks: 6, ..CALM });
}

#[test]
fn edits_deletions_and_an_unsure_lease() {
    let budget = Budget { spec: 2, lease: 2, swap: 1, verdict: 1, ticks: 5, ..CALM };
    explore("spec, lease, swap", &small(), budget);
}

#[test]
fn clocks_and_alerts() {
    explore("clock, alert", &small(), Budget { clock: 1, alert: 2, crash: 1, ticks: 6, ..CALM });
}

#[test]
fn a_gate_and_a_person() {
    let plan = with(|plan| plan.steps[1].gates = vec![external("qa")]);
    explore("gate", &plan, Budget { request: 1, verdict: 1, spec: 1, crash: 1, ticks: 6, ..CALM });
    let plan = with(|plan| plan.steps[1].gates = vec![manual("go")]);
    explore("manual gate", &plan, Budget { request: 2, crash: 1, ticks: 6, ..CALM });
}

#[test]
fn a_first_step_without_traffic() {
    let plan = with(|plan| {
        plan.steps.insert(0, Step { weight: Weight::ZERO, ..plan.steps[0].clone() });
    });
    let budget = Budget { verdict: 1, swap: 1, foreign: 1, ticks: 7, ..CALM };
    explore("share 0 first", &plan, budget);
}

#[test]
fn a_provider_that_cannot_sign() {
    let plan = with(|plan| plan.entries[0].signed = false);
    explore(
        "unsigned",
        &plan,
        Budget { swap: 1, crash: 1, write: 1, verdict: 1, ticks: 5, ..CALM },
    );
    explore("unsigned, foreign", &plan, Budget { foreign: 2, request: 1, ticks: 5, ..CALM });
}

#[test]
fn policies_that_abort_and_promote() {
    let abort = with(|plan| {
        plan.policies.no_data = GapPolicy::Abort;
        plan.policies.source_error = GapPolicy::Pause;
        plan.policies.inconclusive = OnInconclusive::Abort;
        plan.on_deadline = OnDeadline::Abort;
    });
    explore("policies abort", &abort, Budget { verdict: 2, swap: 1, ticks: 6, ..CALM });
    let promote = with(|plan| {
        plan.policies.no_data = GapPolicy::Ignore;
        plan.policies.canary_lost = GapPolicy::Hold;
        plan.policies.inconclusive = OnInconclusive::Promote;
        plan.steps[0].max_bake = Some(TICK * 2);
    });
    assert!(Gap::NoData != Gap::SourceError && percent(50) < Weight::FULL);
    explore("policies promote", &promote, Budget { verdict: 2, side: 1, ticks: 6, ..CALM });
}
