//! A look that counts both sides, window by window.

use std::{sync::Arc, time::Duration};

use haldane_model::{Answer, Count, CountWindow, Window};
use jiff::{SignedDuration, Timestamp};

use super::{
    Fault, Sampled, Selector,
    ask::{SideAsked, What},
    look::{Looked, millis},
    ring::Ring,
};
use crate::{
    Look,
    counters::{self, Observed, Series, SideSeries, Span},
    promql,
    question::Counted,
};

/// The shortest window that is counted in.
const GRID_LEAST: Duration = Duration::from_secs(5);
/// How long before an attempt the serving side is counted, at most.
const BEFORE_MOST: Duration = Duration::from_secs(3600);

/// The samples of both sides in one span of time.
struct Raw {
    test: [Vec<Series>; 2],
    serving: [Vec<Series>; 2],
    others: Vec<Series>,
}

/// What one side counts: all, and the bad ones where they have series of their own.
type Selectors<'a> = (&'a Counted, &'a Arc<Selector>, Option<&'a Arc<Selector>>);

impl Sampled {
    /// Counts both sides; whatever fails is an answer.
    pub(super) fn counted(
        &self,
        ring: &Ring,
        test: &SideAsked,
        serving: &SideAsked,
        look: &Look,
    ) -> Looked {
        let (Some(test), Some(serving)) = (selectors(test), selectors(serving)) else {
            return Looked::error(Fault::person("the sides are not asked for the same"));
        };
        let grid = look.grid.unwrap_or_else(|| self.0.interval.max(GRID_LEAST));
        let raw = Raw::read(ring, test, serving, look.window);
        let observed = raw.observed(test.0, serving.0);
        if let Some(both) = counters::shared(&observed.test.all, &observed.serving.all) {
            let labels = promql::matchers(&both.labels);
            return Looked::error(Fault::person(format!(
                "the series {{{labels}}} belongs to both sides: give the sides labels that differ"
            )));
        }
        if observed.test.all.is_empty() && observed.serving.all.is_empty() {
            return Looked::nothing(format!("neither side has series of {}", test.0.select));
        }
        let before = look.before.map(|before| {
            let end = look.window.begin;
            let before = SignedDuration::try_from(before.min(BEFORE_MOST)).unwrap_or_default();
            let begin = end.checked_sub(before).unwrap_or(Timestamp::MIN);
            let window = Window { begin, end };
            (Span::new(window, grid), Raw::read(ring, test, serving, window))
        });
        let before = before.as_ref().map(|(span, raw)| (*span, raw.observed(test.0, serving.0)));
        let before = before.as_ref().map(|(span, observed)| (*span, observed));
        let warm_up = Duration::from_secs(test.0.warm_up_secs.into());
        let span = Span::new(look.window, grid);
        let counted = counters::count(&test.0.measure, span, warm_up, &observed, before);
        let mut counts = match counted {
            Ok(counts) => counts,
            Err(message) => return Looked::error(Fault::person(message)),
        };
        for bound in &mut counts.bounds {
            *bound /= f64::from(test.0.per_second);
        }
        let sum = |side: fn(&CountWindow) -> &[Count]| {
            let all = counts.windows.iter().flat_map(side);
            // Not `sum`: of nothing it is -0.
            all.fold(0.0, |sum, count| sum + count.total)
        };
        let count = sum(|window| &window.test);
        let serving_count = sum(|window| &window.serving);
        Looked {
            answer: Answer::Counted(counts),
            count: Some(count),
            serving_count: Some(serving_count),
        }
    }
}

fn selectors(side: &SideAsked) -> Option<Selectors<'_>> {
    match &side.what {
        What::Counted { counted, select, bad } => Some((counted, select, bad.as_ref())),
        What::Ratio { .. } | What::Value { .. } => None,
    }
}

// === impl Raw ===

impl Raw {
    fn read(ring: &Ring, test: Selectors<'_>, serving: Selectors<'_>, window: Window) -> Self {
        let (begin, end) = millis(window);
        let of = |selector: Option<&Arc<Selector>>| {
            selector.map_or_else(Vec::new, |one| ring.series(std::slice::from_ref(one), begin, end))
        };
        let all = [Some(test.1), test.2, Some(serving.1), serving.2];
        let all: Vec<Arc<Selector>> = all.into_iter().flatten().cloned().collect();
        Self {
            test: [of(Some(test.1)), of(test.2)],
            serving: [of(Some(serving.1)), of(serving.2)],
            others: ring.witnesses(&all, end),
        }
    }

    fn observed(&self, test: &Counted, serving: &Counted) -> Observed<'_> {
        Observed {
            test: of_side(&self.test, test),
            serving: of_side(&self.serving, serving),
            others: self.others.iter().collect(),
        }
    }
}

fn of_side<'a>([all, bad]: &'a [Vec<Series>; 2], counted: &Counted) -> SideSeries<'a> {
    SideSeries {
        all: counters::of_side(all, &counted.only),
        bad: counters::of_side(bad, &counted.only),
    }
}
