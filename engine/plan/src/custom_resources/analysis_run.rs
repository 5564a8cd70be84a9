//! The record of an analysis as a cluster stores it: what the runtime tells, in types that a schema can say.

use haldane_crds as stored;
use haldane_model::Verdict;
use haldane_runtime::analysis_run as told;
use serde_json::{Value, value::RawValue};

/// Returns an analysis as it is stored; what it is called is the shell's to say.
#[must_use]
pub fn analysis_run(run: &told::AnalysisRun) -> stored::AnalysisRun {
    let told::AnalysisRun { spec, status, .. } = run;
    stored::AnalysisRun {
        spec: stored::AnalysisRunSpec {
            rollout: spec.rollout.clone(),
            attempt: spec.attempt,
            revision: spec.revision.as_ref().map(ToString::to_string),
            checks: spec.checks.iter().map(input).collect(),
        },
        status: stored::AnalysisRunStatus {
            phase: Some(phase(status.phase)),
            started_at: status.started_at,
            finished_at: status.finished_at,
            message: status.message.clone(),
            checks: status.checks.iter().map(found).collect(),
            ..stored::AnalysisRunStatus::default()
        },
    }
}

fn input(input: &told::Input) -> stored::AnalysisRunInput {
    stored::AnalysisRunInput {
        name: input.name.clone(),
        dry_run: input.dry_run,
        question: json(&input.question),
        rule: json(&input.rule),
    }
}

fn json(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().into())
}

fn phase(phase: told::Phase) -> stored::AnalysisRunPhase {
    match phase {
        told::Phase::Running => stored::AnalysisRunPhase::Running,
        told::Phase::Successful => stored::AnalysisRunPhase::Successful,
        told::Phase::Failed => stored::AnalysisRunPhase::Failed,
        told::Phase::Error => stored::AnalysisRunPhase::Error,
        told::Phase::Inconclusive => stored::AnalysisRunPhase::Inconclusive,
    }
}

fn found(found: &told::Found) -> stored::AnalysisRunCheck {
    stored::AnalysisRunCheck {
        name: found.name.clone(),
        verdict: word(found.verdict),
        breach: found.verdict.is_breach(),
        message: found.message.clone(),
        looks: found.looks.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect(),
        measurements: found.measurements.iter().map(measurement).collect(),
        older: found.older as u64,
    }
}

fn measurement(one: &told::Measurement) -> stored::AnalysisMeasurement {
    // JSON has no word for what is not finite.
    let finite = |number: f64| number.is_finite().then_some(number);
    stored::AnalysisMeasurement {
        at: one.at,
        window: stored::AnalysisWindow { begin: one.window.begin, end: one.window.end },
        verdict: word(one.verdict),
        value: one.value.and_then(finite),
        limit: one.limit.clone(),
        samples: one.samples.and_then(finite),
        compared: one.compared.map(|compared| stored::Comparison {
            serving: compared.serving.and_then(finite),
            odds: finite(compared.odds),
            odds_needed: finite(compared.odds_needed),
        }),
        message: one.message.clone(),
    }
}

/// The word of a verdict.
fn word(verdict: Verdict) -> stored::VerdictWord {
    match verdict {
        Verdict::Pass => stored::VerdictWord::Pass,
        Verdict::Fail { .. } => stored::VerdictWord::Fail,
        Verdict::Inconclusive { .. } => stored::VerdictWord::Inconclusive,
        Verdict::NoData => stored::VerdictWord::NoData,
        Verdict::SourceError => stored::VerdictWord::SourceError,
        Verdict::CanaryLost => stored::VerdictWord::CanaryLost,
    }
}
