//! Sources that answer one number for a text: what they have in common.
//!
//! A [`Service`] asks and reads; this module makes a look of it: the number in question, its count, and
//! what the serving side has. Such a source tells neither its targets nor its clock, so that what is
//! silent is never known to be down, and its time is taken for ours.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use haldane_model::{Answer, Revision, Sample, Window};
use jiff::SignedDuration;

use crate::{
    Look, MetricSource, Question, SettingsError, SourceFacts,
    question::{Ask, Text},
    reply::{Found, Refusal, refused},
};

/// Something that answers one number.
pub(crate) trait Service: fmt::Debug + Send + Sync + 'static {
    /// Answers the number in question, not its count. Ends by itself.
    fn number(
        self: Arc<Self>,
        ask: Ask,
        look: Look,
        end: Instant,
    ) -> BoxFuture<'static, Result<Found, Refusal>>;
    /// How far apart its points are.
    fn resolution(&self) -> Duration;
    /// After how long a point is surely there.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// A source of one service.
#[derive(Debug)]
pub(crate) struct Numbers<S>(Arc<S>);

/// A point of a series: when, in milliseconds since the epoch, and what.
pub(crate) type Point = (i64, Option<f64>);

/// Refuses questions that are not about one number in the source's own language.
pub(crate) fn answers_own(question: &str, kind: &str) -> Result<(), SettingsError> {
    let help = format!("write `number: {{query: …, max: …}}` with a query of {kind}");
    answers(question, kind, &help, |ask| matches!(ask, Ask::Own { .. }))
}

/// Refuses a pinned question whose asks a kind of source can never answer; a revision's always.
pub(crate) fn answers(
    question: &str,
    kind: &str,
    help: &str,
    can: impl Fn(&Ask) -> bool,
) -> Result<(), SettingsError> {
    let Ok(question) = serde_json::from_str::<Question>(question) else {
        let help = "ask a Prometheus for it, by `source`, or tell it by spec.revision";
        return Err(SettingsError::new("", "this source tells no revisions", help));
    };
    match question.sides.values().find(|side| !can(&side.ask)) {
        Some(side) => Err(SettingsError::new("", unanswerable(kind, &side.ask), help)),
        None => Ok(()),
    }
}

/// What is wrong with asking a kind of source so.
pub(crate) fn unanswerable(kind: &str, ask: &Ask) -> String {
    let what = match ask {
        Ask::Ratio { .. } | Ask::Value { .. } => "PromQL",
        Ask::Counted(_) => "raw samples of counters",
        Ask::Own { .. } => "a `number`, which is written in a source's own language",
        Ask::Document(_) => "a document of `json`",
        Ask::Consent { .. } => "a `webhook`",
    };
    format!("a source of kind {kind} cannot be asked for {what}")
}

/// Fills in what a look knows of its window.
pub(crate) fn filled(text: &Text, look: &Look) -> String {
    let Window { begin, end } = look.window;
    text.filled(|name| match name {
        "window" => {
            let window = Duration::try_from(end.duration_since(begin)).unwrap_or_default();
            Some(crate::promql::duration(window))
        }
        "begin" => Some(begin.to_string()),
        "end" => Some(end.to_string()),
        "begin_seconds" => Some(begin.as_second().to_string()),
        "end_seconds" => Some(end.as_second().to_string()),
        _ => None,
    })
}

/// The newest point of a window decides; what is `null`, or older, is nothing.
pub(crate) fn newest(points: impl IntoIterator<Item = Point>, window: Window) -> Found {
    let (begin, end) = (window.begin.as_millisecond(), window.end.as_millisecond());
    let newest = points.into_iter().filter(|(at, _)| *at <= end).max_by_key(|(at, _)| *at);
    match newest {
        None => Found::nothing("the series has no point"),
        Some((at, _)) if at < begin => {
            let late = Duration::from_millis(end.abs_diff(at));
            Found::nothing(format!(
                "the newest point is {late:.0?} old, before the window: `delay`?"
            ))
        }
        Some((_, None)) => Found::nothing("the newest point is null: `delay`?"),
        Some((_, Some(value))) => Found::number(value),
    }
}

/// Several series are never taken for one.
pub(crate) fn only<T>(series: Vec<T>, name: impl Fn(&T) -> String) -> Result<Option<T>, Refusal> {
    match series.len() {
        0 | 1 => Ok(series.into_iter().next()),
        several => {
            let named: Vec<String> = series.iter().take(3).map(name).collect();
            let more = if several > 3 { ", …" } else { "" };
            let named = crate::reply::excerpt(named.join(", ").as_bytes());
            Err(refused(format!(
                "{several} series where one value was asked: {named}{more}: ask for their sum or the \
                 like"
            )))
        }
    }
}

// === impl Numbers ===

impl<S: Service> Numbers<S> {
    pub(crate) fn source(service: S) -> Arc<dyn MetricSource> {
        Arc::new(Self(Arc::new(service)))
    }
}

impl<S: Service> MetricSource for Numbers<S> {
    fn look(&self, question: Arc<str>, look: Look) -> BoxFuture<'static, Sample> {
        let service = self.0.clone();
        Box::pin(async move {
            let scrape = service.resolution();
            let window = look.window;
            let looked = take(service, &question, look).await;
            let (answer, count, serving_count) =
                looked.unwrap_or_else(|refusal| (refusal.into(), None, None));
            Sample {
                window,
                scrape,
                share: None,
                answer,
                count,
                serving_count,
                targets_down: false,
            }
        })
    }

    fn revisions(
        &self,
        _question: Arc<str>,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Vec<Revision>, String>> {
        Box::pin(async { Err("this source tells no revisions".to_owned()) })
    }

    fn facts(&self, _deadline: Duration) -> BoxFuture<'static, Result<SourceFacts, String>> {
        let (scrape, delay) = (Some(self.0.resolution()), self.0.delay());
        Box::pin(
            async move { Ok(SourceFacts { clock_ahead: SignedDuration::ZERO, scrape, delay }) },
        )
    }
}

type Looked = (Answer, Option<f64>, Option<f64>);

async fn take<S: Service>(service: Arc<S>, question: &str, look: Look) -> Result<Looked, Refusal> {
    let end = Instant::now() + look.deadline;
    let question: Question = serde_json::from_str(question)
        .map_err(|error| refused(format!("the pinned question cannot be read: {error}")))?;
    let side = |name: &str| question.sides.get(name).map(|side| side.ask.clone());
    let test = side(look.sides.test.as_str())
        .ok_or_else(|| refused(format!("the pinned question has no side {}", look.sides.test)))?;
    let serving = side(look.sides.serving.as_str()).filter(|_| question.exchange);
    let ask = |ask: Ask| service.clone().number(ask, look.clone(), end);
    let count = async {
        match count_of(&test) {
            Some(count) => ask(count).await.map(|found| Some(amount(&found, false))),
            None => Ok(None),
        }
    };
    let serving = async {
        let serving = serving?;
        let counted = count_of(&serving);
        let is_count = counted.is_some();
        let found = ask(counted.unwrap_or(serving)).await.ok()?;
        Some(amount(&found, !is_count))
    };
    let (value, count, serving_count) = tokio::join!(ask(test.clone()), count, serving);
    let answer = match value? {
        Found::Number(value) => Answer::Value(value),
        Found::Nothing(why) => Answer::Nothing(why.into_owned()),
    };
    Ok((answer, count?, serving_count))
}

/// The question for the count, where there is one.
fn count_of(ask: &Ask) -> Option<Ask> {
    match ask {
        Ask::Own { count: Some(count), .. } => Some(Ask::Own { value: count.clone(), count: None }),
        Ask::Own { count: None, .. }
        | Ask::Ratio { .. }
        | Ask::Value { .. }
        | Ask::Counted(_)
        | Ask::Document(_)
        | Ask::Consent { .. } => None,
    }
}

/// How much was found; a value only shows that there is something.
fn amount(found: &Found, is_value: bool) -> f64 {
    match found {
        Found::Nothing(_) => 0.0,
        Found::Number(_) if is_value => 1.0,
        Found::Number(count) => *count,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn window() -> Window {
        let at = |second| Timestamp::from_second(second).unwrap();
        Window { begin: at(100), end: at(130) }
    }

    #[test]
    fn the_newest_point_decides_and_null_or_an_older_one_is_nothing() {
        let found = |points: &[Point]| newest(points.iter().copied(), window());
        assert_eq!(found(&[(110_000, Some(1.0)), (120_000, Some(2.0))]), Found::Number(2.0));
        assert_eq!(found(&[(120_000, Some(2.0)), (110_000, Some(1.0))]), Found::Number(2.0));
        // What is of a time after the window is of another look.
        assert_eq!(found(&[(120_000, Some(2.0)), (131_000, Some(9.0))]), Found::Number(2.0));
        let nothing = |points: &[Point], words: &str| match found(points) {
            Found::Nothing(why) => assert!(why.contains(words), "{why}"),
            Found::Number(value) => panic!("{value}"),
        };
        nothing(&[], "no point");
        nothing(&[(110_000, Some(1.0)), (120_000, None)], "null");
        nothing(&[(90_000, Some(1.0))], "40s old");
        nothing(&[(120_000, Some(f64::NAN))], "NaN");
    }
}
