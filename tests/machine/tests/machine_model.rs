//! The machine against every environment: a breadth-first walk over all that can happen to a small
//! rollout, with faults in any order, and the invariants checked on every turn.
//!
//! One exploration for each mixture of faults, so that each stays small enough to be exhausted.
//! From every state the faults are then stopped, and the rollout must come to an end.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a claim names the case that it is about, and all others fail it"
)]

#[path = "machine_model/env.rs"]
mod env;
#[path = "machine_model/explore.rs"]
mod explore;
#[path = "machine_model/invariants.rs"]
mod invariants;
#[path = "machine_model/liveness.rs"]
mod liveness;

use haldane_machine_tests::world::{check, external, manual, plan};
use haldane_model::{Check, During, GapPolicy, OnDeadline, OnInconclusive, Plan, Step, Weight};

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
    plan
}

fn with(change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = small();
    change(&mut plan);
    plan
}

/// No fault at all; time passes, and the sources answer or do not.
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
};

#[test]
fn a_calm_rollout_ends() {
    explore("calm", &small(), CALM);
}

#[test]
fn a_deadline_that_passes() {
    let plan = with(|plan| plan.progress_deadline = TICK * 4);
    explore("deadline", &plan, Budget { verdict: 1, ..CALM });
    let plan = with(|plan| {
        plan.progress_deadline = TICK * 4;
        plan.on_deadline = OnDeadline::Abort;
    });
    explore("deadline aborts", &plan, Budget { request: 1, ..CALM });
}

#[test]
fn crashes_and_lost_writes() {
    explore("crash, write", &small(), Budget { crash: 1, write: 1, ..CALM });
    explore("crash, swap, write", &small(), Budget { crash: 1, swap: 1, write: 1, ..CALM });
    explore("crashes, writes", &small(), Budget { crash: 2, write: 2, ..CALM });
}

#[test]
fn crashes_and_lost_records_around_a_verdict() {
    explore("crash, verdict", &small(), Budget { crash: 1, verdict: 1, ..CALM });
    explore("swap, verdict", &small(), Budget { swap: 1, verdict: 1, ..CALM });
}

#[test]
fn lost_records_and_late_writes() {
    explore("swap, write", &small(), Budget { swap: 1, write: 1, ..CALM });
}

#[test]
fn foreign_writes() {
    explore("foreign", &small(), Budget { foreign: 2, ..CALM });
    explore("foreign, write", &small(), Budget { foreign: 1, write: 1, ..CALM });
}

#[test]
fn foreign_writes_and_a_person() {
    explore("foreign, request", &small(), Budget { foreign: 1, request: 1, ..CALM });
}

#[test]
fn two_requests_of_any_kind() {
    explore("requests", &small(), Budget { request: 2, ..CALM });
}

#[test]
fn a_request_and_an_odd_verdict() {
    explore("request, verdict", &small(), Budget { request: 1, verdict: 1, ..CALM });
}

#[test]
fn two_odd_verdicts() {
    explore("verdicts", &small(), Budget { verdict: 2, ..CALM });
}

#[test]
fn dying_and_changing_sides() {
    explore("sides", &small(), Budget { side: 2, ..CALM });
    explore("side, verdict", &small(), Budget { side: 1, verdict: 1, ..CALM });
}

#[test]
fn edits_deletions_and_an_unsure_lease() {
    explore("spec, lease", &small(), Budget { spec: 1, lease: 2, ..CALM });
    explore("spec, verdict", &small(), Budget { spec: 2, verdict: 1, ..CALM });
}

#[test]
fn clocks_and_alerts() {
    explore("clock, crash", &small(), Budget { clock: 1, crash: 1, ..CALM });
    explore("alerts", &small(), Budget { alert: 2, ..CALM });
    explore("alert, request", &small(), Budget { alert: 1, request: 1, ..CALM });
}

#[test]
fn a_gate_and_a_person() {
    let plan = with(|plan| plan.steps[1].gates = vec![external("qa")]);
    explore("gate", &plan, Budget { request: 1, spec: 1, ..CALM });
    let plan = with(|plan| plan.steps[1].gates = vec![manual("go")]);
    explore("manual gate", &plan, Budget { request: 1, swap: 1, ..CALM });
}

#[test]
fn a_first_step_without_traffic() {
    let plan = with(|plan| {
        plan.steps.insert(0, Step { weight: Weight::ZERO, ..plan.steps[0].clone() });
    });
    explore("share 0 first", &plan, Budget { verdict: 1, foreign: 1, ..CALM });
}

#[test]
fn a_check_that_is_asked_in_a_phase_alone() {
    let phased = |during: During| {
        with(|plan| {
            plan.steps.insert(0, Step { weight: Weight::ZERO, ..plan.steps[0].clone() });
            plan.checks.push(Check { during, ..check("smoke") });
        })
    };
    let before = phased(During::BeforeTraffic);
    explore("before traffic", &before, Budget { verdict: 1, foreign: 1, ..CALM });
    explore("before traffic, request", &before, Budget { verdict: 1, request: 1, ..CALM });
    let step = phased(During::Steps(vec![1]));
    explore("one step, verdicts", &step, Budget { verdict: 2, ..CALM });
    explore("one step, crash", &step, Budget { verdict: 1, crash: 1, ..CALM });
    let after = phased(During::AfterPromotion);
    explore("after the promotion", &after, Budget { verdict: 1, foreign: 1, ..CALM });
}

#[test]
fn a_provider_that_cannot_sign() {
    let plan = with(|plan| plan.entries[0].signed = false);
    explore("unsigned, swap", &plan, Budget { swap: 1, verdict: 1, ..CALM });
    explore("unsigned, foreign", &plan, Budget { foreign: 2, ..CALM });
}

#[test]
fn policies_that_abort_and_promote() {
    let abort = with(|plan| {
        plan.policies.no_data = GapPolicy::Abort;
        plan.policies.source_error = GapPolicy::Pause;
        plan.policies.inconclusive = OnInconclusive::Abort;
    });
    explore("policies abort", &abort, Budget { verdict: 2, ..CALM });
    let promote = with(|plan| {
        plan.policies.no_data = GapPolicy::Ignore;
        plan.policies.canary_lost = GapPolicy::Hold;
        plan.policies.inconclusive = OnInconclusive::Promote;
        plan.steps[0].max_bake = Some(TICK * 2);
    });
    explore("policies promote", &promote, Budget { verdict: 1, side: 1, ..CALM });
}
