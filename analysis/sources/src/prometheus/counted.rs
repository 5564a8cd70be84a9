//! A look that counts: raw samples of both sides, in as few requests as there are selectors.
//!
//! First a little more than the windows is asked for. Where a series begins in one of them, it may
//! have begun, or the engine or a scrape was away: then ten minutes are asked for, once, so that
//! neither loses anything.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use haldane_model::{Answer, Count, CountWindow, Counts, Window};
use jiff::Timestamp;

use super::{
    Prometheus,
    late::Late,
    look::{Asked, Looked},
    shared::Asking,
};
use crate::{
    counters::{self, Observed, Series, SideSeries, Span},
    promql,
    question::Counted,
    reply::Refusal,
};

/// The shortest window that is counted in.
const GRID_LEAST: Duration = Duration::from_secs(5);
/// How much further back is looked for what a series had before.
const REACH_LONG: Duration = Duration::from_secs(600);
/// Reaches are multiples of this, so that looks that differ by little share an answer.
const REACH_STEP: Duration = Duration::from_secs(30);
/// How long before an attempt the serving side is counted, at most and at least.
const BEFORE_MOST: Duration = Duration::from_secs(3600);
const BEFORE_LEAST: Duration = Duration::from_secs(300);
/// How long one look may reach: what is older than an hour is not caught up with.
const WINDOW_MOST: Duration = Duration::from_secs(3600);

/// The raw samples behind one look.
struct Raw {
    test: Arc<Vec<Series>>,
    test_bad: Option<Arc<Vec<Series>>>,
    serving: Arc<Vec<Series>>,
    serving_bad: Option<Arc<Vec<Series>>>,
}

/// What one look counts.
struct Counting<'a> {
    test: &'a Counted,
    serving: &'a Counted,
    asked: Asked<'a>,
    span: Span,
    grid: Duration,
    scrape: Duration,
}

impl Prometheus {
    /// Counts both sides; whatever fails is an answer.
    pub(super) async fn counted(
        &self,
        test: &Counted,
        serving: &Counted,
        asked: Asked<'_>,
        scrape: Duration,
    ) -> Looked {
        let grid = asked.look.grid.unwrap_or_else(|| scrape.max(GRID_LEAST));
        let window = asked.look.window;
        let oldest = window.end.checked_sub(WINDOW_MOST).unwrap_or(window.begin);
        let window = Window { begin: window.begin.max(oldest), ..window };
        let span = Span::new(window, grid);
        let counting = Counting { test, serving, asked, span, grid, scrape };
        let (now, before) = tokio::join!(self.now(&counting), self.before(&counting));
        match now.and_then(|raw| counting.count(&raw, before.as_ref(), &self.late)) {
            Ok(looked) => looked,
            Err(refusal) => Looked::error(refusal),
        }
    }

    async fn now(&self, counting: &Counting<'_>) -> Result<Raw, Refusal> {
        let raw = self.raw(counting, counting.reach()).await?;
        if !raw.begins_within(counting) {
            return Ok(raw);
        }
        match self.raw(counting, stepped(counting.reach() + REACH_LONG)).await {
            // Then a gap loses what lies in it, and nothing else.
            Err(refusal) if refusal.too_large => Ok(raw),
            long => long,
        }
    }

    async fn raw(&self, counting: &Counting<'_>, reach: Duration) -> Result<Raw, Refusal> {
        let Counting { test, serving, asked, .. } = counting;
        let at = asked.look.window.end;
        let one = async |selector: &str| self.samples(selector, at, reach, asked.end).await;
        let bad = async |selector: &Option<String>| match selector {
            Some(selector) => one(selector).await.map(Some),
            None => Ok(None),
        };
        let (test, test_bad, serving, serving_bad) = tokio::try_join!(
            one(&test.select),
            bad(&test.bad),
            one(&serving.select),
            bad(&serving.bad)
        )?;
        Ok(Raw { test, test_bad, serving, serving_bad })
    }

    /// The serving side before the window; less time where an answer would be too large, and nothing
    /// where there is no answer: what came before is no reason to know nothing now.
    async fn before(&self, counting: &Counting<'_>) -> Option<(Span, Raw)> {
        let mut before = counting.asked.look.before?.min(BEFORE_MOST);
        let serving = counting.serving;
        let end = counting.asked.look.window.begin;
        let own = |selector: &str| promql::narrow(selector, &promql::matchers(&serving.only));
        loop {
            let reach = before + counting.grid + counting.scrape * 4;
            let ask = async |selector: &str| {
                Box::pin(self.client.ranges(&own(selector), reach, end, counting.asked.end)).await
            };
            let bad = async {
                match &serving.bad {
                    Some(selector) => ask(selector).await.map(Some),
                    None => Ok(None),
                }
            };
            match tokio::try_join!(ask(&serving.select), bad) {
                Ok((series, bad)) => {
                    let begin = end.checked_sub(before).unwrap_or(Timestamp::MIN);
                    let raw = Raw::of_serving(series, bad);
                    return Some((Span::new(Window { begin, end }, counting.grid), raw));
                }
                Err(refusal) if refusal.too_large && before / 2 >= BEFORE_LEAST => before /= 2,
                Err(refusal) => {
                    tracing::warn!(reason = %refusal, "the time before the attempt is not known");
                    return None;
                }
            }
        }
    }

    async fn samples(
        &self,
        selector: &str,
        at: Timestamp,
        reach: Duration,
        end: Instant,
    ) -> Result<Arc<Vec<Series>>, Refusal> {
        let asking = Asking { selector: selector.to_owned(), at };
        let ask = Box::pin(self.client.ranges(selector, reach, at, end));
        self.shared.answer(&asking, reach, end, ask).await
    }
}

// === impl Counting ===

impl Counting<'_> {
    /// How far back a look asks: its windows, and four scrapes before them.
    fn reach(&self) -> Duration {
        let warm_up = Duration::from_secs(self.test.warm_up_secs.into()) + self.scrape * 2;
        stepped(self.asked.window.min(WINDOW_MOST) + self.grid + (self.scrape * 4).max(warm_up))
    }

    fn count(
        &self,
        raw: &Raw,
        before: Option<&(Span, Raw)>,
        late: &Late,
    ) -> Result<Looked, Refusal> {
        let refuse = |message: String| Refusal { message, retryable: false, too_large: false };
        let observed = raw.observed(self);
        if let Some(both) = counters::shared(&observed.test.all, &observed.serving.all) {
            let labels = promql::matchers(&both.labels);
            return Err(refuse(format!(
                "the series {{{labels}}} belongs to both sides: give the sides labels of which no \
                 series has both"
            )));
        }
        if observed.test.all.is_empty() && observed.serving.all.is_empty() {
            let message = format!("neither side has series of {}", self.test.select);
            return Ok(Looked::nothing(message));
        }
        let earlier = before.as_ref().map(|(span, raw)| (*span, raw.observed(self)));
        let earlier = earlier.as_ref().map(|(span, observed)| (*span, observed));
        let warm_up = Duration::from_secs(self.test.warm_up_secs.into());
        let measure = &self.test.measure;
        let mut counts =
            counters::count(measure, self.span, warm_up, &observed, earlier).map_err(refuse)?;
        let scrapes = i64::try_from((self.scrape * 4).as_millis()).unwrap_or(i64::MAX);
        let sides = [self.test, self.serving];
        let Window { begin, end } = self.asked.look.window;
        let ends = (begin.as_millisecond(), end.as_millisecond());
        counts.late = late.note(sides, ends, scrapes, &observed);
        for bound in &mut counts.bounds {
            *bound /= f64::from(self.test.per_second);
        }
        Ok(Looked::counted(counts))
    }
}

/// The next multiple of the steps that reaches are rounded to.
fn stepped(reach: Duration) -> Duration {
    let steps = reach.as_millis().div_ceil(REACH_STEP.as_millis());
    REACH_STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

// === impl Raw ===

impl Raw {
    fn of_serving(series: Vec<Series>, bad: Option<Vec<Series>>) -> Self {
        Self {
            test: Arc::default(),
            test_bad: None,
            serving: Arc::new(series),
            serving_bad: bad.map(Arc::new),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Series> {
        let bad = [&self.test_bad, &self.serving_bad].into_iter().flatten();
        [&self.test, &self.serving].into_iter().chain(bad).flat_map(|series| series.iter())
    }

    /// Whether any series of either side begins in the windows that are asked for.
    fn begins_within(&self, counting: &Counting<'_>) -> bool {
        let observed = self.observed(counting);
        let SideSeries { all, bad } = &observed.test;
        let SideSeries { all: serving, bad: serving_bad } = &observed.serving;
        let mut own = all.iter().chain(bad).chain(serving).chain(serving_bad);
        own.any(|series| counters::begins_within(series, counting.span))
    }

    fn observed(&self, counting: &Counting<'_>) -> Observed<'_> {
        Observed {
            test: side(&self.test, self.test_bad.as_deref(), counting.test),
            serving: side(&self.serving, self.serving_bad.as_deref(), counting.serving),
            others: self.all().collect(),
        }
    }
}

fn side<'a>(all: &'a [Series], bad: Option<&'a Vec<Series>>, counted: &Counted) -> SideSeries<'a> {
    SideSeries {
        all: counters::of_side(all, &counted.only),
        bad: bad.map_or_else(Vec::new, |bad| counters::of_side(bad, &counted.only)),
    }
}

// === impl Looked ===

impl Looked {
    fn counted(counts: Counts) -> Self {
        let sum = |side: fn(&CountWindow) -> &[Count]| {
            let all = counts.windows.iter().flat_map(side);
            // Not `sum`: of nothing it is -0.
            all.fold(0.0, |sum, count| sum + count.total)
        };
        let count = sum(|window| &window.test);
        let serving_count = sum(|window| &window.serving);
        Self {
            answer: Answer::Counted(counts),
            count: Some(count),
            serving_count: Some(serving_count),
        }
    }

    fn nothing(why: String) -> Self {
        Self { answer: Answer::Nothing(why), count: Some(0.0), serving_count: Some(0.0) }
    }
}
