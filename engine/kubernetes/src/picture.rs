//! The picture of a rollout in its status: for `kubectl get`, for tools that wait for conditions, for people.
//!
//! What is written with a record shows what the loop sees at that moment. In between a picture is published only where
//! something changed that a person would act on: never for a number that moves.

use std::{collections::HashMap, sync::Arc, time::Duration};

use haldane_crds::{
    CheckStatus, Condition, ConditionStatus, EngineStatus, HoldStatus, LastDecision, RolloutStatus,
    StepStatus, TrafficStatus, VerdictWord,
};
use haldane_model::{JournalEntry, Revision, RolloutId, Verdict, Weight, back_off};
use haldane_runtime::{explain, status::Status};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{api, measured, store::StatusStore};

/// The shortest pause between two pictures of one rollout.
const PACE: Duration = Duration::from_secs(1);
/// The longest pause before one that failed is tried again: doubling until then.
const PACE_MAX: Duration = Duration::from_secs(30);
/// How many are published at once: they may wait, and what decides may not.
const PUBLISHING_MAX: usize = 8;
/// No journal entry is longer as it is kept.
const ENTRY_MAX: usize = 16_000;
/// No message is longer.
const MESSAGE_MAX: usize = 4_000;

/// Returns the status that an object has; an empty one where it has none that can be read.
pub(crate) fn status_of(rollout: &Value) -> RolloutStatus {
    let status = rollout.get("status").cloned().unwrap_or_default();
    serde_json::from_value(status).unwrap_or_default()
}

/// Puts what only a loop sees over what a record remembers.
pub(crate) fn overlay(shown: &mut Status, live: &Status) {
    if shown.attempt == live.attempt {
        shown.checks.clone_from(&live.checks);
    }
    for entry in &mut shown.traffic {
        if let Some(seen) = live.traffic.iter().find(|seen| seen.name == entry.name) {
            entry.observed = seen.observed;
            entry.acknowledged = seen.acknowledged;
            entry.message.clone_from(&seen.message);
        }
    }
    if shown.traffic.is_empty() {
        shown.traffic.clone_from(&live.traffic);
    }
    shown.spec_error.clone_from(&live.spec_error);
}

/// Draws what people see. `before`: what stood there, so that conditions keep the time of their last change.
pub(crate) fn draw(
    shown: &Status,
    generation: Option<i64>,
    blind: Option<&str>,
    before: Option<&RolloutStatus>,
) -> RolloutStatus {
    let text = |text: &Option<_>| text.as_ref().map(ToString::to_string);
    let mut status = RolloutStatus {
        observed_generation: generation,
        phase: Some(shown.phase.clone()),
        at_gate: shown.at_gate.then_some(true),
        serving: text(&shown.serving),
        revision: shown.revision.as_ref().map(name),
        previous_revision: shown.previous_revision.as_ref().map(name),
        attempt: Some(shown.attempt),
        step: shown.step.as_ref().map(step),
        weight: shown.traffic.iter().map(|entry| entry.wanted).max().map(percent),
        verdict: shown
            .checks
            .iter()
            .filter(|check| !check.dry_run)
            .filter_map(|c| c.verdict)
            .map(word)
            .max_by_key(|word| rank(*word)),
        traffic: shown.traffic.iter().map(traffic).collect(),
        checks: shown.checks.iter().map(check).collect(),
        holds: shown.holds.iter().map(hold).collect(),
        held_by: shown.held_by.clone(),
        last_decision: before.and_then(|before| before.last_decision.clone()),
        safe_to_scale_down: text(&shown.safe_to_scale_down),
        conditions: Vec::new(),
        engine: Some(EngineStatus {
            format: shown.engine.format,
            term: shown.engine.term,
            version: shown.engine.version,
        }),
        record: None,
    };
    status.conditions = conditions(shown, generation, blind, before);
    status
}

/// Returns the last decision of several, with all of them in the engine's own words.
pub(crate) fn decision(last: &JournalEntry, entries: &[JournalEntry]) -> LastDecision {
    LastDecision {
        time: last.at,
        reason: last.reason.code().to_owned(),
        cause: last.cause.map(|cause| format!("{cause:?}")),
        actor: last.actor.to_string(),
        message: short(&explain::sentence(last)),
        entries: all_written(entries),
    }
}

/// Returns entries in the engine's own words; the newest where there are too many for one object.
pub(crate) fn all_written(entries: &[JournalEntry]) -> Vec<String> {
    measured::newest(entries.iter().filter_map(written).collect())
}

/// Returns an entry in the engine's own words, without its detail where that is too long to be kept.
fn written(entry: &JournalEntry) -> Option<String> {
    let text = serde_json::to_string(entry).ok()?;
    if text.len() <= ENTRY_MAX {
        return Some(text);
    }
    let detail = entry.detail.as_ref().map(|detail| detail.chars().take(1_000).collect());
    let shorter = JournalEntry { detail, finding: None, ..entry.clone() };
    serde_json::to_string(&shorter).ok().filter(|text| text.len() <= ENTRY_MAX)
}

fn step(step: &haldane_runtime::status::StepStatus) -> StepStatus {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    StepStatus {
        index: number(step.index),
        count: number(step.count),
        weight: percent(step.weight),
        baked: seconds(step.baked),
        shown: format!("{}/{}", step.index + 1, step.count),
    }
}

fn traffic(entry: &haldane_runtime::status::TrafficStatus) -> TrafficStatus {
    TrafficStatus {
        name: entry.name.clone(),
        wanted: percent(entry.wanted),
        observed: entry.observed.map(percent),
        acknowledged: entry.acknowledged.map(|level| format!("{level:?}")),
        message: entry.message.as_deref().map(short),
    }
}

fn check(check: &haldane_runtime::status::CheckStatus) -> CheckStatus {
    let value = check.value.map(|value| {
        let value = if check.unit == "%" { value * 100.0 } else { value };
        let text = match value.abs() >= 1e15 {
            true => format!("{value:e}"),
            false => format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        };
        format!("{text}{}", check.unit).chars().take(64).collect()
    });
    CheckStatus {
        name: check.name.clone(),
        verdict: check.verdict.map(word),
        value,
        limit: check.limit.as_ref().map(|limit| limit.chars().take(1_000).collect()),
        samples: check.samples.map(|samples| samples.clamp(0.0, 1e15).round() as u64),
        message: check.message.as_deref().map(short),
    }
}

fn hold(hold: &haldane_runtime::status::HoldStatus) -> HoldStatus {
    HoldStatus { kind: hold.kind.clone(), since: hold.since, actor: hold.actor.clone() }
}

fn word(verdict: Verdict) -> VerdictWord {
    match verdict {
        Verdict::Pass => VerdictWord::Pass,
        Verdict::Fail { .. } => VerdictWord::Fail,
        Verdict::Inconclusive { .. } => VerdictWord::Inconclusive,
        Verdict::NoData => VerdictWord::NoData,
        Verdict::SourceError => VerdictWord::SourceError,
        Verdict::CanaryLost => VerdictWord::CanaryLost,
    }
}

/// How bad it is.
fn rank(word: VerdictWord) -> u8 {
    match word {
        VerdictWord::Pass => 0,
        VerdictWord::Inconclusive => 1,
        VerdictWord::NoData => 2,
        VerdictWord::SourceError => 3,
        VerdictWord::Fail => 4,
        VerdictWord::CanaryLost => 5,
    }
}

/// `25%`, as Kubernetes writes shares.
fn percent(weight: Weight) -> String {
    weight.to_string().replace(" %", "%")
}

fn seconds(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let (minutes, seconds) = (whole / 60, whole % 60);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// A revision, as long as one may be.
fn name(revision: &Revision) -> String {
    revision.to_string().chars().take(253).collect()
}

fn short(text: &str) -> String {
    text.chars().take(MESSAGE_MAX).collect()
}

// --- conditions ---

/// `Ready`, `Reconciling` and `Stalled` as every tool reads them, and our own: `SpecAccepted`, `Recorded`, `Sighted`.
fn conditions(
    shown: &Status,
    generation: Option<i64>,
    blind: Option<&str>,
    before: Option<&RolloutStatus>,
) -> Vec<Condition> {
    let rests = matches!(shown.phase.as_str(), "Healthy" | "Degraded");
    let decided = before.and_then(|before| before.last_decision.as_ref());
    let said = decided.map_or(String::new(), |last| last.message.clone());
    let stalled = stalled(shown, blind);
    let is_ready = shown.phase == "Healthy" && stalled.is_none();
    let moves = !rests && stalled.is_none() && shown.attempt > 0;
    let phase = if shown.phase.is_empty() { "Unknown" } else { &shown.phase };
    let (stalled_reason, stalled_why) = stalled.clone().unwrap_or(("Moving", String::new()));
    let mut all = vec![
        (
            "Ready",
            is_ready,
            if is_ready { phase } else { stalled.as_ref().map_or(phase, |(reason, _)| *reason) },
            said.clone(),
        ),
        ("Reconciling", moves, phase, if moves { said } else { String::new() }),
        ("Stalled", stalled.is_some(), stalled_reason, stalled_why),
    ];
    let refused = shown.spec_error.clone();
    let reason = if refused.is_some() { "Refused" } else { "Accepted" };
    all.push(("SpecAccepted", refused.is_none(), reason, refused.unwrap_or_default()));
    let unwritten = shown.store_trouble.clone();
    let reason = if unwritten.is_some() { "NotWritten" } else { "Written" };
    all.push(("Recorded", unwritten.is_none(), reason, unwritten.unwrap_or_default()));
    let reason = if blind.is_some() { "NotReadable" } else { "Readable" };
    all.push(("Sighted", blind.is_none(), reason, blind.unwrap_or_default().to_owned()));
    let old = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    all.into_iter()
        .map(|(kind, holds, reason, message)| {
            let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
            let same = old.iter().find(|old| old.kind == kind && old.status == status);
            Condition {
                kind: kind.to_owned(),
                status,
                observed_generation: generation,
                last_transition_time: same.map_or_else(now, |same| same.last_transition_time),
                reason: reason.to_owned(),
                message: short(&message),
            }
        })
        .collect()
}

/// Why nothing goes on without a person, where that is so.
fn stalled(shown: &Status, blind: Option<&str>) -> Option<(&'static str, String)> {
    if let Some(why) = &shown.spec_error {
        return Some(("SpecRefused", why.clone()));
    }
    if let Some(why) = blind {
        return Some(("NotReadable", why.to_owned()));
    }
    let held = || shown.held_by.join(", ");
    match shown.phase.as_str() {
        "Degraded" => {
            Some(("Degraded", "rolled back; a new revision or `retry` begins anew".to_owned()))
        }
        "Conflicted" => Some((
            "Conflicted",
            "somebody else writes the split; `resume` asserts it again".to_owned(),
        )),
        "Paused" => Some(("Paused", "a person resumes it".to_owned())),
        "Held" => Some(("NewerFormat", held())),
        _ => None,
    }
}

/// Whole seconds, as the API server keeps them.
fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()
}

// --- publishing ---

/// What of a picture is worth a write of its own.
fn outline(status: &RolloutStatus) -> RolloutStatus {
    let mut outline = status.clone();
    outline.record = None;
    outline.engine = None;
    outline.last_decision = None;
    if let Some(step) = &mut outline.step {
        step.baked.clear();
    }
    for check in &mut outline.checks {
        check.value = None;
        check.samples = None;
        check.message = None;
        check.limit = None;
    }
    for entry in &mut outline.traffic {
        entry.message = entry.message.take().map(|_| String::new());
    }
    for condition in &mut outline.conditions {
        if matches!(condition.kind.as_str(), "Ready" | "Reconciling") {
            condition.message.clear();
        }
    }
    outline
}

/// How soon a rollout may have its next picture.
struct Paced {
    until: Instant,
    /// Whether it comes again by itself then: once, however often it changes meanwhile.
    comes: bool,
    /// How often its picture failed since it was last published.
    failures: u32,
}

/// Publishes pictures while this engine leads.
pub(crate) async fn publish(
    store: StatusStore,
    leads: watch::Receiver<bool>,
    token: CancellationToken,
) {
    let mut waiting: Vec<RolloutId> = Vec::new();
    let mut paced: HashMap<RolloutId, Paced> = HashMap::new();
    let mut publishing: JoinSet<(RolloutId, bool)> = JoinSet::new();
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            Some(done) = publishing.join_next() => {
                if let Ok((id, is_published)) = done
                    && let Some(paced) = paced.get_mut(&id)
                {
                    published(&store, paced, id, is_published);
                }
            }
            dirty = store.shelf.pictures().take(), if waiting.is_empty() => waiting.extend(dirty),
        }
        if !*leads.borrow() {
            waiting.clear();
            paced.clear();
        }
        let now = Instant::now();
        paced.retain(|_, paced| paced.until > now || paced.failures > 0);
        while publishing.len() < PUBLISHING_MAX
            && let Some(id) = waiting.pop()
        {
            let new = Paced { until: now, comes: false, failures: 0 };
            let paced = paced.entry(id.clone()).or_insert(new);
            if paced.until > now {
                if !std::mem::replace(&mut paced.comes, true) {
                    later(store.clone(), id, paced.until);
                }
                continue;
            }
            (paced.until, paced.comes) = (now + PACE, false);
            let store = store.clone();
            publishing.spawn(async move {
                let published = publish_one(&store, &id).await;
                if let Err(why) = &published {
                    tracing::debug!(rollout = %id, "its picture is tried again: {why}");
                }
                (id, published.is_ok())
            });
        }
    }
}

/// Notes how a publication ended; one that failed comes again, ever later.
fn published(store: &StatusStore, paced: &mut Paced, id: RolloutId, is_published: bool) {
    if is_published {
        paced.failures = 0;
        return;
    }
    paced.until = Instant::now() + back_off((PACE, PACE_MAX), paced.failures);
    paced.comes = true;
    paced.failures = paced.failures.saturating_add(1);
    later(store.clone(), id, paced.until);
}

fn later(store: StatusStore, id: RolloutId, at: Instant) {
    tokio::spawn(async move {
        tokio::time::sleep_until(at).await;
        store.shelf.pictures().add(&id);
    });
}

async fn publish_one(store: &StatusStore, id: &RolloutId) -> Result<(), String> {
    let Some(rollout) = store.mirrored(id) else { return Ok(()) };
    let (live, generation, blind) =
        store.shelf.with(id, |kept| (kept.picture.clone(), kept.generation, kept.blind.clone()));
    let Some(live) = live else { return Ok(()) };
    if live.phase == "Loading" && live.spec_error.is_none() && blind.is_none() {
        return Ok(());
    }
    let before = status_of(&rollout);
    let generation = generation.max(before.observed_generation);
    let status = picture_of(&live, generation, blind.as_deref(), &before);
    if outline(&status) == outline(&before) {
        return Ok(());
    }
    let mut fields = serde_json::to_value(&status).map_err(|error| error.to_string())?;
    let old = serde_json::to_value(&before).map_err(|error| error.to_string())?;
    if let (Some(fields), Some(old)) = (fields.as_object_mut(), old.as_object()) {
        // The record is the store's alone, and so is what rides with it.
        fields.retain(|name, _| !matches!(name.as_str(), "record" | "lastDecision" | "engine"));
        for name in
            old.keys().filter(|name| !matches!(name.as_str(), "record" | "lastDecision" | "engine"))
        {
            fields.entry(name).or_insert(Value::Null);
        }
    }
    let version = api::text(&rollout, "/metadata/resourceVersion");
    let document = json!({"metadata": {"resourceVersion": version}, "status": fields});
    let path = format!("{}/status?fieldManager={}", api::rollout(id), api::MANAGER);
    let cluster = api::cluster(&store.outside).await.map_err(|error| error.to_string())?;
    match cluster.merge(&path, &document, api::DEADLINE).await {
        Ok(_) => Ok(()),
        Err(error) if api::is_gone(&error) => Ok(()),
        Err(error) => Err(api::told(&error)),
    }
}

fn picture_of(
    live: &Arc<Status>,
    generation: Option<i64>,
    blind: Option<&str>,
    before: &RolloutStatus,
) -> RolloutStatus {
    if live.phase == "Loading" {
        // Nothing is recorded of it yet: only what is wrong with it can be told.
        let mut first = (**live).clone();
        "Pending".clone_into(&mut first.phase);
        return draw(&first, generation, blind, Some(before));
    }
    draw(live, generation, blind, Some(before))
}
