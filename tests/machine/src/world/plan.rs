//! The plan of the small world, and the parts that a test adds to it.

use std::{collections::BTreeMap, time::Duration};

use haldane_model::{
    Check, Entry, Follow, GapPolicy, Gate, GateKind, Limits, OnDeadline, OnExpired, OnInconclusive,
    Plan, Policies, Side, Source, Step,
};

use super::{BLUE, EDGE, ERRORS, GREEN, MAIN, percent, secs};

/// A plan of three steps, 10, 50 and 100 %, each held for a minute, watched for ten, with one check
/// asked every 15 s. Held on silence, rolled back on a lost test side.
#[must_use]
pub fn plan() -> Plan {
    let side = |name: &str| Side {
        name: name.into(),
        labels: BTreeMap::new(),
        revision_query: Some("{}".into()),
        workload: None,
    };
    let step = |share: u32| Step {
        weight: percent(share),
        bake: secs(60),
        max_bake: None,
        gates: Vec::new(),
        mirror: None,
    };
    Plan {
        hash: "1:a".into(),
        sides: [side(BLUE), side(GREEN)],
        entries: vec![entry()],
        steps: vec![step(10), step(50), step(100)],
        watch: secs(600),
        progress_deadline: secs(3_600),
        on_deadline: OnDeadline::Pause,
        sources: vec![Source {
            name: MAIN.into(),
            kind: "prometheus".into(),
            settings: "{}".into(),
        }],
        checks: vec![check(ERRORS)],
        policies: Policies {
            no_data: GapPolicy::Hold,
            source_error: GapPolicy::Hold,
            canary_lost: GapPolicy::Abort,
            inconclusive: OnInconclusive::Pause,
        },
        alerts: Vec::new(),
        guards_at_full: true,
        unanalysed: false,
    }
}

fn entry() -> Entry {
    Entry {
        name: EDGE.into(),
        kind: "memory".into(),
        settings: "{}".into(),
        follow: Follow::Steps,
        signed: true,
        write_deadline: secs(10),
    }
}

/// A check that gates, asked every 15 s.
#[must_use]
pub fn check(name: &str) -> Check {
    Check {
        name: name.into(),
        source: MAIN.into(),
        kind: "errors".into(),
        question: "{}".into(),
        rule: "{}".into(),
        interval: secs(15),
        window: None,
        initial_delay: Duration::ZERO,
        limits: Limits::default(),
        dry_run: false,
        during: haldane_model::During::Background,
    }
}

/// A gate that something outside opens.
#[must_use]
pub fn external(name: &str) -> Gate {
    Gate {
        name: name.into(),
        kind: GateKind::External("{}".into()),
        expires: None,
        on_expired: OnExpired::Pause,
    }
}

/// A gate that a person opens.
#[must_use]
pub fn manual(name: &str) -> Gate {
    Gate { kind: GateKind::Manual, ..external(name) }
}
