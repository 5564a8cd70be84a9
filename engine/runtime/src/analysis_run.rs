//! `AnalysisRun`: the record of one attempt's analysis, as people and programs read it: what was asked and
//! by which rule, what was measured, what was concluded and why.
//!
//! It is made from the journal and from what was taken in, and kept nowhere else, so that it cannot say
//! anything else than they do.

use std::{collections::BTreeMap, sync::Arc};

use haldane_judge::sentence;
use haldane_model::{
    Cause, Compared, Finding, JournalEntry, Reason, Revision, RolloutId, State, Verdict, Window,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    explain,
    replay::looks,
    trace::{Batch, TracedLook},
};

/// How many measurements of one check are shown: the newest.
pub const MEASUREMENTS_MAX: usize = 50;

/// The analysis of one attempt.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRun {
    /// `haldane.dev/v1alpha1`.
    pub api_version: &'static str,
    /// `AnalysisRun`.
    pub kind: &'static str,
    /// What it is called.
    pub metadata: Metadata,
    /// What was to be analysed, and how.
    pub spec: Spec,
    /// What was found.
    pub status: Status,
}

/// What it is called: the rollout's name and the attempt's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// `checkout-3`.
    pub name: String,
    /// The rollout's namespace.
    pub namespace: String,
}

/// What was to be analysed, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Spec {
    /// Which rollout.
    pub rollout: String,
    /// Which attempt.
    pub attempt: u32,
    /// Which revision was on trial.
    pub revision: Option<Revision>,
    /// What was asked, by name.
    pub checks: Vec<Input>,
}

/// One check, as it was asked and judged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Whether it decided nothing.
    pub dry_run: bool,
    /// The question, in the source's words.
    pub question: Box<RawValue>,
    /// The rule, in the judge's words.
    pub rule: Box<RawValue>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How it ended.
    pub phase: Phase,
    /// When the attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it ended so, in a sentence.
    pub message: Option<String>,
    /// Each check, by name.
    pub checks: Vec<Found>,
}

/// How an analysis ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// It has not.
    Running,
    /// The revision has all traffic.
    Successful,
    /// The traffic went back because of what was found.
    Failed,
    /// The traffic went back because a source was broken or silent.
    Error,
    /// It ended before anything was shown: by a person, an alert, a deadline, another revision.
    Inconclusive,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What it said last.
    pub verdict: Verdict,
    /// The same in a sentence.
    pub message: String,
    /// How often it said what.
    pub looks: BTreeMap<&'static str, u64>,
    /// The newest measurements, oldest first.
    pub measurements: Vec<Measurement>,
    /// How many older ones are not shown.
    pub older: usize,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// When it was judged.
    pub at: Timestamp,
    /// What was looked at, in the source's time.
    pub window: Window,
    /// The verdict.
    pub verdict: Verdict,
    /// The value, in base units.
    pub value: Option<f64>,
    /// The limit, in words.
    pub limit: Option<String>,
    /// How many samples it rests on.
    pub samples: Option<f64>,
    /// What it was compared with, and the evidence so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Returns the analyses of a rollout, one for each attempt, oldest first.
#[must_use]
pub fn analysis_runs(
    id: &RolloutId,
    journal: &[JournalEntry],
    batches: &[Batch],
) -> Vec<AnalysisRun> {
    let mut attempts: Vec<u32> = journal.iter().map(|entry| entry.attempt).collect();
    attempts.sort_unstable();
    attempts.dedup();
    attempts.retain(|attempt| *attempt > 0);
    attempts.into_iter().map(|attempt| of(id, attempt, journal, batches)).collect()
}

fn of(id: &RolloutId, attempt: u32, journal: &[JournalEntry], batches: &[Batch]) -> AnalysisRun {
    let of_it = || journal.iter().filter(move |entry| entry.attempt == attempt);
    let taken: Vec<&TracedLook> =
        looks(batches).filter(|look| look.attempt == attempt && !look.at_rest).collect();
    let mut checks: BTreeMap<&str, Vec<&TracedLook>> = BTreeMap::new();
    for look in taken {
        checks.entry(look.check.as_str()).or_default().push(look);
    }
    let inputs = checks.values().filter_map(|looks| looks.last()).map(|look| input(look));
    let ended = of_it().rev().find(|entry| ends(entry));
    let phase = ended.map_or(Phase::Running, phase);
    AnalysisRun {
        api_version: "haldane.dev/v1alpha1",
        kind: "AnalysisRun",
        metadata: Metadata {
            name: format!("{}-{attempt}", id.name),
            namespace: id.namespace.to_string(),
        },
        spec: Spec {
            rollout: id.name.to_string(),
            attempt,
            revision: of_it().find_map(|entry| entry.revision.clone()),
            checks: inputs.collect(),
        },
        status: Status {
            phase,
            started_at: of_it().map(|entry| entry.at).next(),
            finished_at: ended.map(|entry| entry.at),
            message: of_it().rev().find(|entry| ends(entry)).map(explain::sentence),
            checks: checks.iter().map(|(name, looks)| found(name, looks)).collect(),
        },
    }
}

/// Whether an attempt's analysis is over with this: the traffic goes back, or the watch is over.
fn ends(entry: &JournalEntry) -> bool {
    let goes_back = entry.after == State::RollingBack && entry.before != State::RollingBack;
    let given_up = entry.after == State::Degraded && entry.before != State::RollingBack;
    goes_back || (given_up && entry.before != State::Degraded) || is_promoted(entry)
}

fn is_promoted(entry: &JournalEntry) -> bool {
    matches!(entry.reason, Reason::Promoted | Reason::WatchEnded)
}

fn phase(entry: &JournalEntry) -> Phase {
    if is_promoted(entry) {
        return Phase::Successful;
    }
    match entry.cause {
        Some(Cause::Breach | Cause::CanaryLost) => Phase::Failed,
        Some(Cause::NoData | Cause::SourceError) => Phase::Error,
        Some(
            Cause::AbortedByPerson
            | Cause::OwnLoweringFound
            | Cause::AlertAbort
            | Cause::Deleted
            | Cause::Inconclusive
            | Cause::MaxBakeReached
            | Cause::DeadlineReached
            | Cause::RevisionChanged
            | Cause::Undone,
        )
        | None => Phase::Inconclusive,
    }
}

fn input(look: &TracedLook) -> Input {
    Input {
        name: look.check.to_string(),
        dry_run: look.dry_run,
        question: raw(&look.question),
        rule: raw(&look.rule),
    }
}

/// Settings are JSON; what is not is shown as a text.
fn raw(text: &Arc<str>) -> Box<RawValue> {
    let quoted = || serde_json::value::to_raw_value(text.as_ref()).expect("a text is JSON");
    RawValue::from_string(text.to_string()).unwrap_or_else(|_| quoted())
}

fn found(name: &str, looks: &[&TracedLook]) -> Found {
    let mut count = BTreeMap::new();
    for look in looks {
        *count.entry(look.finding.verdict.word()).or_insert(0) += 1;
    }
    let older = looks.len().saturating_sub(MEASUREMENTS_MAX);
    let last = looks.last();
    Found {
        name: name.to_owned(),
        verdict: last.map_or(Verdict::NoData, |look| look.finding.verdict),
        message: last.map(|look| sentence(&look.finding)).unwrap_or_default(),
        looks: count,
        measurements: looks[older..].iter().map(|look| measurement(look)).collect(),
        older,
    }
}

fn measurement(look: &TracedLook) -> Measurement {
    let Finding { verdict, value, limit, samples, window, message, compared, .. } =
        Finding::clone(&look.finding);
    Measurement { at: look.at.wall, window, verdict, value, limit, samples, compared, message }
}
