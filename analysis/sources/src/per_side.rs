//! One source per side: sites that have a Prometheus of their own.
//!
//! Each side is counted by its own source, over the same windows of one grid, and the counts are put
//! together by their timestamps. That needs clocks that agree: where they are further apart than a
//! part of a window nothing is judged, and both clocks are told. It never fills one side's gap from
//! the other's source.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use haldane_model::{Answer, Count, CountWindow, Counts, Revision, Sample, SideName, Window};
use haldane_outside::Outside;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Look, MetricSource, Question, SettingsError, SourceEntry, SourceFacts, TemplateScope,
    prometheus, question::Ask, settings,
};

/// The row of the registry.
pub(crate) const ENTRY: SourceEntry = SourceEntry {
    kind: "perSide",
    remembers: true,
    schema: || schemars::schema_for!(BTreeMap<String, Written>),
    check,
    join,
    answers,
    build,
};

/// How far apart the clocks of two sources may be: a part of the shortest window.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(2);

/// The source of one side.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Its Prometheus, as one would write it as a source of its own.
    prometheus: Value,
}

/// Two sources, each with the side that it counts.
#[derive(Clone)]
struct PerSide {
    sides: BTreeMap<SideName, Arc<dyn MetricSource>>,
    /// How far each clock is ahead of ours, as was last told.
    clocks: Arc<Mutex<Option<BTreeMap<SideName, SignedDuration>>>>,
}

// === the written form ===

fn check(settings: &Value) -> Result<Value, Vec<SettingsError>> {
    let written: BTreeMap<String, Written> = settings::read(settings).map_err(|mut error| {
        error.help = Some("write {blue: {prometheus: {url: …}}, green: {prometheus: …}}".into());
        vec![error]
    })?;
    let mut checked = serde_json::Map::new();
    let mut errors = Vec::new();
    for (side, Written { prometheus }) in &written {
        match (prometheus::ENTRY.check)(prometheus) {
            Ok(settings) => {
                checked.insert(side.clone(), json!({"prometheus": settings}));
            }
            Err(found) => errors.extend(found.into_iter().map(|error| {
                let path = format!("/{side}/prometheus{}", error.path);
                SettingsError { path, ..error }
            })),
        }
    }
    if errors.is_empty() { Ok(Value::Object(checked)) } else { Err(errors) }
}

fn join(settings: &Value, scope: &TemplateScope) -> Result<Value, SettingsError> {
    let none = serde_json::Map::new();
    let written = settings.as_object().unwrap_or(&none);
    let sides: Vec<&str> = scope.sides.iter().map(|(side, _)| side.as_str()).collect();
    let help = format!("write one for each of {}", sides.join(" and "));
    if let Some(unknown) = written.keys().find(|side| !sides.contains(&side.as_str())) {
        let message = format!("there is no side {unknown}");
        return Err(SettingsError::new(&format!("/{unknown}"), message, &help));
    }
    if let Some(missing) = sides.iter().find(|side| !written.contains_key(**side)) {
        return Err(SettingsError::new("", format!("the side {missing} has no source"), &help));
    }
    Ok(settings.clone())
}

/// One number of one side is for one source to tell.
fn answers(_settings: &Value, question: &str) -> Result<(), SettingsError> {
    let Ok(question) = serde_json::from_str::<Question>(question) else { return Ok(()) };
    let counts = |ask: &Ask| matches!(ask, Ask::Counted(_));
    if question.sides.values().all(|side| counts(&side.ask)) {
        return Ok(());
    }
    let message = "a source per side counts both sides, and this check asks for one number";
    let help = "remove `max` to compare both sides, or name a source that knows both";
    Err(SettingsError::new("", message, help))
}

fn build(settings: &Value, outside: &Outside) -> Result<Arc<dyn MetricSource>, SettingsError> {
    let written: BTreeMap<String, Written> = settings::read(settings)?;
    let one = |(side, written): (String, Written)| {
        let source = (prometheus::ENTRY.build)(&written.prometheus, outside)?;
        Ok((SideName::from(side.as_str()), source))
    };
    let sides = written.into_iter().map(one).collect::<Result<_, SettingsError>>()?;
    Ok(Arc::new(PerSide { sides, clocks: Arc::default() }))
}

// === impl PerSide ===

impl MetricSource for PerSide {
    fn look(&self, question: Arc<str>, look: Look) -> BoxFuture<'static, Sample> {
        let source = self.clone();
        Box::pin(async move { source.take(question, look).await })
    }

    fn revisions(
        &self,
        _question: Arc<str>,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>> {
        let why = "a source per side is asked for no revision: name the side's own source";
        Box::pin(async move { Err(why.to_owned()) })
    }

    fn facts(&self, deadline: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        let source = self.clone();
        Box::pin(async move { source.ask_facts(deadline).await })
    }
}

impl PerSide {
    /// The slower clock, so that what is asked for has passed on both; the longer scrape.
    async fn ask_facts(&self, deadline: Duration) -> Result<SourceFacts, String> {
        let asked = self.sides.iter().map(|(side, source)| async move {
            let facts = source.facts(deadline).await;
            facts.map(|facts| (side.clone(), facts)).map_err(|why| format!("{side}: {why}"))
        });
        let told = futures::future::try_join_all(asked).await?;
        let clocks = told.iter().map(|(side, facts)| (side.clone(), facts.clock_ahead)).collect();
        *self.clocks.lock().unwrap_or_else(PoisonError::into_inner) = Some(clocks);
        let slowest = told.iter().map(|(_, facts)| facts.clock_ahead).min();
        Ok(SourceFacts {
            clock_ahead: slowest.unwrap_or(SignedDuration::ZERO),
            scrape: told.iter().filter_map(|(_, facts)| facts.scrape).max(),
            delay: told.iter().map(|(_, facts)| facts.delay).max().unwrap_or_default(),
        })
    }

    async fn take(&self, question: Arc<str>, look: Look) -> Sample {
        let of = |side: &SideName| self.sides.get(side).cloned();
        let (Some(test), Some(serving)) = (of(&look.sides.test), of(&look.sides.serving)) else {
            return broken(look.window, "a side has no source of its own".to_owned(), false);
        };
        if look.grid.is_none() {
            return test.look(question, look).await;
        }
        let skew = match self.agree(look.deadline).await {
            Ok(skew) => skew,
            Err(why) => return broken(look.window, why, true),
        };
        let asked =
            (test.look(question.clone(), look.clone()), serving.look(question, look.clone()));
        let (test, serving) = futures::join!(asked.0, asked.1);
        together(&look, skew, test, serving)
    }

    /// Returns how far apart the clocks are, as was last told; asks where nothing was. The error: too far.
    async fn agree(&self, deadline: Duration) -> Result<SignedDuration, String> {
        let known = || self.clocks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let clocks = match known() {
            Some(clocks) => clocks,
            None => {
                self.ask_facts(deadline).await?;
                known().unwrap_or_default()
            }
        };
        let (low, high) = (clocks.values().min(), clocks.values().max());
        let apart = low.zip(high).map_or(SignedDuration::ZERO, |(low, high)| *high - *low);
        tracing::debug!(apart = apart.as_secs_f64(), "the clocks of the sides' sources");
        if apart <= SKEW_MAX {
            return Ok(apart);
        }
        let each: Vec<String> = clocks.iter().map(|(side, ahead)| clock(side, *ahead)).collect();
        Err(format!(
            "the clocks of the sides' sources are {:.1} s apart, more than {} s, so that their windows \
             cannot be put together: {}; set them by one time server",
            apart.as_secs_f64(),
            SKEW_MAX.as_secs(),
            each.join(", ")
        ))
    }
}

fn clock(side: &SideName, ahead: SignedDuration) -> String {
    let secs = ahead.as_secs_f64();
    let word = if secs < 0.0 { "behind" } else { "ahead of" };
    format!("that of {side} is {:.1} s {word} ours", secs.abs())
}

fn broken(window: Window, message: String, retryable: bool) -> Sample {
    Sample {
        window,
        scrape: Duration::from_secs(15),
        share: None,
        answer: Answer::Error { message, retryable },
        count: None,
        serving_count: None,
        targets_down: false,
    }
}

/// Puts both sides' answers together, each side from its own source.
fn together(look: &Look, skew: SignedDuration, test: Sample, serving: Sample) -> Sample {
    let scrape = test.scrape.max(serving.scrape);
    let (count, serving_count) = (test.count, serving.serving_count);
    let targets_down = test.targets_down;
    let answer = match (part(&look.sides.test, test), part(&look.sides.serving, serving)) {
        (Err(error), _) | (_, Err(error)) => error,
        (Ok(None), Ok(None)) => {
            Answer::Nothing("neither side's source has series of it".to_owned())
        }
        (Ok(test), Ok(serving)) => {
            merged(skew, test.unwrap_or_default(), serving.unwrap_or_default())
        }
    };
    let window = look.window;
    Sample { window, scrape, share: None, answer, count, serving_count, targets_down }
}

/// What one source counted; `None` where it has nothing.
fn part(side: &SideName, sample: Sample) -> Result<Option<Counts>, Answer> {
    match sample.answer {
        Answer::Counted(counts) => Ok(Some(counts)),
        Answer::Nothing(_) => Ok(None),
        Answer::Error { message, retryable } => {
            Err(Answer::Error { message: format!("the source of {side}: {message}"), retryable })
        }
        Answer::Value(_) | Answer::Ratio { .. } => Err(Answer::Error {
            message: format!("the source of {side} gave one number, where counts were asked for"),
            retryable: false,
        }),
    }
}

fn merged(skew: SignedDuration, test: Counts, serving: Counts) -> Answer {
    let bounds: Vec<f64> = match (test.bounds.is_empty(), serving.bounds.is_empty()) {
        (true, _) => serving.bounds.clone(),
        (_, true) => test.bounds.clone(),
        (false, false) => {
            test.bounds.iter().copied().filter(|bound| serving.bounds.contains(bound)).collect()
        }
    };
    if bounds.is_empty() && !(test.bounds.is_empty() && serving.bounds.is_empty()) {
        let message =
            "the histograms of the two sides' sources have no bound in common: give both \
                       the same buckets"
                .to_owned();
        return Answer::Error { message, retryable: false };
    }
    let mut windows: BTreeMap<Timestamp, CountWindow> = BTreeMap::new();
    let late = test.late.saturating_add(serving.late);
    let empty = |window| CountWindow { window, test: Vec::new(), serving: Vec::new() };
    for one in test.windows {
        let entry = windows.entry(one.window.end).or_insert_with(|| empty(one.window));
        entry.test = at_bounds(one.test, &test.bounds, &bounds);
    }
    for one in serving.windows {
        let entry = windows.entry(one.window.end).or_insert_with(|| empty(one.window));
        entry.serving = at_bounds(one.serving, &serving.bounds, &bounds);
    }
    let earlier = serving.before.into_iter().map(|one| CountWindow {
        serving: at_bounds(one.serving, &serving.bounds, &bounds),
        ..empty(one.window)
    });
    let before = earlier.collect();
    let windows = windows.into_values().collect();
    Answer::Counted(Counts { bounds, windows, before, late, skew: Some(skew.unsigned_abs()) })
}

/// The counts at the bounds that both have.
fn at_bounds(mut counts: Vec<Count>, own: &[f64], common: &[f64]) -> Vec<Count> {
    if own != common {
        let kept: Vec<usize> = own
            .iter()
            .enumerate()
            .filter(|(_, bound)| common.contains(bound))
            .map(|(at, _)| at)
            .collect();
        for count in &mut counts {
            count.bad = kept.iter().filter_map(|at| count.bad.get(*at).copied()).collect();
        }
    }
    counts
}

#[cfg(test)]
#[path = "per_side_tests.rs"]
mod tests;
