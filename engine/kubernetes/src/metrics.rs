//! What the shell counts, for Prometheus. Names of rollouts are in no label: there may be thousands.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use haldane_host::Engine;
use haldane_runtime::ports::{Desk as _, LeaseTold};
use tokio::sync::watch;

/// What is counted.
pub(crate) struct Counts {
    pub(crate) engine: Arc<Engine>,
    pub(crate) leads: watch::Receiver<bool>,
    pub(crate) lease: watch::Receiver<LeaseTold>,
    pub(crate) panics: Arc<AtomicU64>,
    pub(crate) dropped_events: Arc<AtomicU64>,
}

// === impl Counts ===

impl Counts {
    /// Writes them as OpenMetrics.
    pub(crate) fn text(&self) -> String {
        let mut phases: BTreeMap<String, u64> = BTreeMap::new();
        for handle in self.engine.rollouts() {
            *phases.entry(handle.status().phase.clone()).or_default() += 1;
        }
        let mut out = String::new();
        let leads = u64::from(*self.leads.borrow());
        let term = match self.lease.borrow().seen {
            haldane_model::LeaseSeen::Held { term } | haldane_model::LeaseSeen::Other { term } => {
                term
            }
            haldane_model::LeaseSeen::Unsure => 0,
        };
        gauge(&mut out, "haldane_leader", "Whether this engine leads.", &[(String::new(), leads)]);
        gauge(&mut out, "haldane_lease_term", "The term of the lease.", &[(String::new(), term)]);
        let phases: Vec<_> = phases
            .into_iter()
            .map(|(phase, count)| (format!("{{phase=\"{phase}\"}}"), count))
            .collect();
        gauge(&mut out, "haldane_rollouts", "Rollouts by phase, where this engine leads.", &phases);
        let counters = [
            ("haldane_panics", "Panics while a rollout was looked at.", &self.panics),
            ("haldane_events_dropped", "Events that were not made.", &self.dropped_events),
        ];
        for (name, help, count) in counters {
            let count = count.load(Ordering::Relaxed);
            let _ =
                writeln!(out, "# TYPE {name} counter\n# HELP {name} {help}\n{name}_total {count}");
        }
        out.push_str("# EOF\n");
        out
    }
}

fn gauge(out: &mut String, name: &str, help: &str, values: &[(String, u64)]) {
    let _ = writeln!(out, "# TYPE {name} gauge\n# HELP {name} {help}");
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}
