//! The records of analyses in a cluster, as the engine wrote them.

use haldane_crds::{AnalysisRun, AnalysisRunPhase};
use haldane_model::RolloutId;
use jiff::Timestamp;
use miette::miette;
use serde_json::Value;

use super::{Seat, number, text};
use crate::print;

/// Which attempt a record is of.
pub(crate) fn attempt(run: &Value) -> u64 {
    number(run, "/spec/attempt")
}

// === impl Seat ===

impl Seat {
    /// Reads the records that are asked for: all of a namespace, or of all of them, those of a rollout, or one by its
    /// own name.
    pub(crate) async fn asked_runs(
        &self,
        namespace: Option<&str>,
        asked: Option<&str>,
    ) -> miette::Result<Vec<Value>> {
        let mut found = match asked {
            None => self.runs(None, namespace).await?,
            Some(name) => {
                let namespace = namespace.unwrap_or_else(|| self.namespace());
                let id = RolloutId::new(namespace, name);
                let of_rollout = self.runs(Some(&id), Some(namespace)).await?;
                match of_rollout.is_empty() {
                    false => of_rollout,
                    // A rollout's own name wins over an attempt's.
                    true => self.one_run(namespace, name).await?,
                }
            }
        };
        found.iter_mut().for_each(without_bookkeeping);
        if let (true, Some(name)) = (found.is_empty(), asked) {
            return Err(miette!(
                help = "name a rollout, or a rollout and an attempt: checkout-3",
                "there is no rollout with an analysis, and no analysis, called {name}"
            ));
        }
        Ok(found)
    }

    /// Reads what is kept of one attempt of a rollout.
    pub(crate) async fn run_of(
        &self,
        id: &RolloutId,
        attempt: u32,
    ) -> miette::Result<Option<AnalysisRun>> {
        let all = self.runs(Some(id), Some(&id.namespace)).await?;
        let found = all.into_iter().rfind(|run| self::attempt(run) == u64::from(attempt));
        Ok(found.and_then(|run| serde_json::from_value(run).ok()))
    }

    async fn one_run(&self, namespace: &str, name: &str) -> miette::Result<Vec<Value>> {
        let id = RolloutId::new(namespace, name);
        match self.get(&super::object("analysisruns", &id)?).await {
            Ok(run) => Ok(vec![run]),
            Err(haldane_outside::ClusterError::Refused(refusal))
                if refusal.code == 404 && refusal.object.is_some() =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(super::trouble::of_read(error, "analysisruns", &id)),
        }
    }
}

/// What the server keeps about who wrote which field is of no use to readers.
fn without_bookkeeping(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// A line for each.
pub(crate) fn table(runs: &[Value]) -> String {
    let dash = || "-".to_owned();
    let row = |run: &Value| {
        let read: Option<AnalysisRun> = serde_json::from_value(run.clone()).ok();
        let name = format!("{}/{}", text(run, "/metadata/namespace"), text(run, "/metadata/name"));
        let Some(AnalysisRun { spec, status }) = read else {
            return vec![name, dash(), "unreadable".to_owned(), dash(), dash(), dash(), dash()];
        };
        let looks: u64 = status.checks.iter().flat_map(|check| check.looks.values()).sum();
        let at = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        vec![
            name,
            spec.revision.unwrap_or_else(dash),
            status.phase.map_or_else(dash, |phase| word(phase).to_owned()),
            status.checks.len().to_string(),
            looks.to_string(),
            status.started_at.map_or_else(dash, at),
            status.message.unwrap_or_else(dash),
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    print::table(&["ANALYSIS", "REVISION", "PHASE", "CHECKS", "LOOKS", "BEGAN", "WHY"], &rows)
}

/// How an analysis ended, in a word.
pub(super) fn word(phase: AnalysisRunPhase) -> &'static str {
    match phase {
        AnalysisRunPhase::Running => "Running",
        AnalysisRunPhase::Successful => "Successful",
        AnalysisRunPhase::Failed => "Failed",
        AnalysisRunPhase::Error => "Error",
        AnalysisRunPhase::Inconclusive => "Inconclusive",
    }
}
