//! The status of a rollout as people and programs see it: one serialisable picture.

use std::{fmt, time::Duration};

use haldane_model::{
    Acknowledged, Cause, Compared, Header, Place, Reason, Record, Revision, RolloutId, Seen,
    SideName, SpecSeen, Verdict, Weight,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Core;

/// One picture of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `namespace/name`.
    pub rollout: String,
    /// The state: `Baking`, `Healthy` and so on; `Loading` before the record is here, `Held` where a
    /// newer engine wrote it.
    pub phase: String,
    /// Whether the phase Healthy is still guarded.
    pub watching: bool,
    /// Whether it stands before a gate, held or not: a promotion opens it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_gate: bool,
    /// Which side has the traffic.
    pub serving: Option<SideName>,
    /// Which side is on trial; at rest the idle one.
    pub test: Option<SideName>,
    /// The revision on trial; at rest the one of the last attempt.
    pub revision: Option<Revision>,
    /// The revision that served before.
    pub previous_revision: Option<Revision>,
    /// The revision that failed last.
    pub failed_revision: Option<Revision>,
    /// Whether something outside tells which revisions the sides run; otherwise they are the
    /// user's word.
    pub revisions_are_told: bool,
    /// Which attempt this is.
    pub attempt: u32,
    /// The step under way.
    pub step: Option<StepStatus>,
    /// The steps of the plan.
    pub steps: Vec<PlannedStep>,
    /// The watch, while it is under way.
    pub watch: Option<WatchStatus>,
    /// Each traffic entry.
    pub traffic: Vec<TrafficStatus>,
    /// Each check.
    pub checks: Vec<CheckStatus>,
    /// What only a person or an alert can lift.
    pub holds: Vec<HoldStatus>,
    /// What keeps the rollout from going on by itself.
    pub held_by: Vec<String>,
    /// The last decision, in a sentence.
    pub last_decision: Option<DecisionStatus>,
    /// The side that may be scaled down; only after the watch.
    pub safe_to_scale_down: Option<SideName>,
    /// Why the record cannot be written, while it cannot.
    pub store_trouble: Option<String>,
    /// Why what is written cannot be used, while it cannot.
    pub spec_error: Option<String>,
    /// Why an engine that cannot read the record puts the traffic back, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered: Option<Cause>,
    /// The engine's format, term and the record's version.
    pub engine: EngineStatus,
}

/// The step under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub count: usize,
    /// Its weight, in basis points.
    pub weight: Weight,
    /// How much of its bake has passed, in seconds.
    pub baked: f64,
    /// How long its bake is, in seconds.
    pub bake: f64,
}

/// A step of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its weight, in basis points.
    pub weight: Weight,
    /// How long its bake is, in seconds.
    pub bake: f64,
    /// How much of the serving side's traffic is copied meanwhile, in basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Weight>,
}

/// The watch after the promotion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// How much of it has passed, in seconds.
    pub watched: f64,
    /// How long it is, in seconds.
    pub watch: f64,
}

/// The share of the side under test in one traffic entry; at rest that is the idle side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// Its name.
    pub name: String,
    /// The share that is asserted, in basis points.
    pub wanted: Weight,
    /// The highest share that was read, in basis points.
    pub observed: Option<Weight>,
    /// At which level it is acknowledged.
    pub acknowledged: Option<Acknowledged>,
    /// What is wrong, where something is.
    pub message: Option<String>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Its latest verdict; `None` before the first.
    pub verdict: Option<Verdict>,
    /// The value that was judged, in base units.
    pub value: Option<f64>,
    /// The unit of the value.
    pub unit: String,
    /// The limit, in words.
    pub limit: Option<String>,
    /// How many samples the value rests on.
    pub samples: Option<f64>,
    /// What it was compared with, where it compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// What else there is to say.
    pub message: Option<String>,
    /// Whether it only reports.
    pub dry_run: bool,
}

/// Something that only a person or an alert can lift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Which kind, or for which reason.
    pub kind: String,
    /// Since when.
    pub since: Timestamp,
    /// Who put it on.
    pub actor: String,
}

/// The last decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionStatus {
    /// When.
    pub time: Timestamp,
    /// The reason's code.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// The sentence.
    pub message: String,
}

/// The engine behind this picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// The stored format.
    pub format: u32,
    /// The term of the lease.
    pub term: u64,
    /// The version of the record.
    pub version: u64,
}

// === impl PlannedStep ===

impl fmt::Display for PlannedStep {
    /// `10 %`, or `0 %, mirror 20 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.weight)?;
        match self.mirror {
            Some(share) => write!(f, ", mirror {share}"),
            None => Ok(()),
        }
    }
}

// === impl Status ===

impl Status {
    /// Says what the step under way gives the side under test: `25 %`, or `0 %, mirror 20 %`.
    #[must_use]
    pub fn step_in_words(&self) -> Option<String> {
        let step = self.step.as_ref()?;
        let planned = self.steps.get(step.index).filter(|planned| planned.weight == step.weight);
        Some(planned.map_or_else(|| step.weight.to_string(), ToString::to_string))
    }

    /// Draws the picture of a rollout.
    #[must_use]
    pub fn of(core: &Core, last: Option<DecisionStatus>) -> Self {
        let mut status = Self::empty(core.id());
        status.store_trouble = core.store_trouble().map(ToOwned::to_owned);
        status.last_decision = last;
        if let Some(SpecSeen::Invalid { message }) = core.spec() {
            status.spec_error = Some(message.clone());
        }
        if let Some(record) = core.record() {
            status.fill(record, core.seen(), core.spec());
        } else if let Some(header) = core.header() {
            status.fill_header(header, core.seen());
        }
        status
    }

    /// Draws the picture of a record of a newer engine that no engine runs.
    #[must_use]
    pub fn of_newer(id: &RolloutId, header: &Header) -> Self {
        let mut status = Self::empty(id);
        status.fill_header(header, &Seen::default());
        status
    }

    /// Draws the picture of a record that no engine runs: what is remembered, and nothing seen.
    #[must_use]
    pub fn remembered(id: &RolloutId, record: &Record) -> Self {
        let mut status = Self::empty(id);
        status.fill(record, &Seen::default(), None);
        status
    }

    /// Draws the picture of a rollout of which nothing is known yet.
    #[must_use]
    pub fn empty(id: &RolloutId) -> Self {
        Self {
            rollout: id.to_string(),
            phase: "Loading".to_owned(),
            watching: false,
            at_gate: false,
            serving: None,
            test: None,
            revision: None,
            previous_revision: None,
            failed_revision: None,
            revisions_are_told: false,
            attempt: 0,
            step: None,
            steps: Vec::new(),
            watch: None,
            traffic: Vec::new(),
            checks: Vec::new(),
            holds: Vec::new(),
            held_by: Vec::new(),
            last_decision: None,
            safe_to_scale_down: None,
            store_trouble: None,
            spec_error: None,
            lowered: None,
            engine: EngineStatus { format: crate::codec::FORMAT, term: 0, version: 0 },
        }
    }

    fn fill(&mut self, record: &Record, seen: &Seen, spec: Option<&SpecSeen>) {
        self.phase = format!("{:?}", record.state());
        self.watching = matches!(record.place, Place::Watching { .. });
        self.serving.clone_from(&record.serving);
        self.test = Some(record.header.test.clone());
        self.revision.clone_from(&record.revision);
        self.previous_revision.clone_from(&record.previous);
        self.failed_revision.clone_from(&record.failed);
        self.attempt = record.attempt;
        self.engine.term = record.term;
        self.engine.version = record.version;
        self.holds = record
            .holds
            .iter()
            .map(|hold| HoldStatus {
                kind: hold.kind.word().to_owned(),
                since: hold.since,
                actor: hold.actor.to_string(),
            })
            .collect();
        self.at_gate = matches!(record.place, Place::Waiting { .. });
        self.held_by = record.told.iter().map(|block| block.reason().code().to_owned()).collect();
        if record.place == Place::Healthy && record.previous.is_some() {
            self.safe_to_scale_down = Some(record.header.test.clone());
        }
        let wanted = match (&record.place, &record.plan) {
            (Place::Shifting { step, .. }, Some(plan)) => plan.weight(*step),
            (_, _) => record.asserted(),
        };
        self.fill_traffic(&record.header.test, seen, Some(wanted));
        self.fill_plan(record, seen, spec);
    }

    /// What can be said of a record that a newer engine wrote.
    fn fill_header(&mut self, header: &Header, seen: &Seen) {
        self.phase = "Held".to_owned();
        self.held_by = vec![Reason::NewerFormat.code().to_owned()];
        self.test = Some(header.test.clone());
        self.lowered = header.lowered;
        self.fill_traffic(&header.test, seen, header.lowered.map(|_| Weight::ZERO));
        let back = |entry: &TrafficStatus| entry.observed == Some(Weight::ZERO);
        if header.lowered.is_some() && !self.traffic.is_empty() && self.traffic.iter().all(back) {
            self.serving = Some(header.home.clone());
        }
    }

    /// `wanted`: `None` where what is read is left as it is.
    fn fill_traffic(&mut self, test: &SideName, seen: &Seen, wanted: Option<Weight>) {
        for (name, seen) in &seen.entries {
            let (observed, acknowledged, message) = match &seen.reading {
                Ok(reading) => {
                    let silent: Vec<&str> = reading.silent_parts().collect();
                    let message = (!silent.is_empty())
                        .then(|| format!("no answer from {}", silent.join(", ")));
                    (Some(reading.range_of(test).1), Some(reading.acknowledged), message)
                }
                Err(unreadable) => (None, None, Some(unreadable.message.clone())),
            };
            let name = name.to_string();
            let wanted = wanted.or(observed).unwrap_or_default();
            self.traffic.push(TrafficStatus { name, wanted, observed, acknowledged, message });
        }
    }

    fn fill_plan(&mut self, record: &Record, seen: &Seen, spec: Option<&SpecSeen>) {
        let plan = match spec {
            Some(SpecSeen::Valid { plan, .. }) if record.place.is_at_rest() => Some(plan),
            Some(_) | None => record.plan.as_ref(),
        };
        let Some(plan) = plan.or(record.plan.as_ref()) else { return };
        self.revisions_are_told = plan.revisions_are_told();
        self.steps = plan
            .steps
            .iter()
            .map(|step| PlannedStep {
                weight: step.weight,
                bake: step.bake.as_secs_f64(),
                mirror: step.mirror,
            })
            .collect();
        self.step = record.step().and_then(|index| {
            let step = plan.steps.get(index)?;
            let baked = match &record.place {
                Place::Baking { baked, .. } => *baked,
                Place::Promoting { .. } => step.bake,
                Place::Pending { .. }
                | Place::Waiting { .. }
                | Place::Shifting { .. }
                | Place::Watching { .. }
                | Place::Healthy
                | Place::RollingBack { .. }
                | Place::Degraded { .. } => Duration::ZERO,
            };
            Some(StepStatus {
                index,
                count: plan.steps.len(),
                weight: step.weight,
                baked: baked.as_secs_f64(),
                bake: step.bake.as_secs_f64(),
            })
        });
        if let Place::Watching { watched, .. } = record.place {
            let (watched, watch) = (watched.as_secs_f64(), plan.watch.as_secs_f64());
            self.watch = Some(WatchStatus { watched, watch });
        }
        self.checks = plan
            .checks
            .iter()
            .map(|check| {
                let seen = seen.checks.get(&check.name);
                let finding = seen.map(|seen| &seen.finding);
                CheckStatus {
                    name: check.name.to_string(),
                    verdict: seen.map(|seen| seen.verdict),
                    value: finding.and_then(|finding| finding.value),
                    unit: finding.map(|finding| finding.unit.clone()).unwrap_or_default(),
                    limit: finding.and_then(|finding| finding.limit.clone()),
                    samples: finding.and_then(|finding| finding.samples),
                    compared: finding.and_then(|finding| finding.compared),
                    message: finding.and_then(|finding| finding.message.clone()),
                    dry_run: check.dry_run,
                }
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_mirrors_says_so() {
        let [tenth, fifth] = [1_000, 2_000].map(|points| Weight::from_basis_points(points).ok());
        let planned = |weight, mirror| PlannedStep { weight, bake: 60.0, mirror };
        let mut status = Status::empty(&RolloutId::new("shop", "checkout"));
        assert_eq!(status.step_in_words(), None);
        status.steps = vec![planned(Weight::ZERO, fifth), planned(tenth.unwrap_or_default(), None)];
        let at =
            |index: usize, weight| StepStatus { index, count: 2, weight, baked: 0.0, bake: 60.0 };
        status.step = Some(at(0, Weight::ZERO));
        assert_eq!(status.step_in_words().as_deref(), Some("0 %, mirror 20 %"));
        status.step = Some(at(1, tenth.unwrap_or_default()));
        assert_eq!(status.step_in_words().as_deref(), Some("10 %"));
    }
}
