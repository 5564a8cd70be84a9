//! Samples that came after their window was answered: counted, because they are lost.
//!
//! A look shows the last scrapes before it once more. Where there are more of them than the look
//! before saw, the rest came too late. Only for people: forgetting it changes no answer.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    counters::{Observed, Samples, Series},
    question::Counted,
};

/// How many looks are remembered.
const LOOKS_MAX: usize = 256;

/// What looks saw just before they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<Mutex<Vec<Tail>>>);

/// The last samples of one look.
#[derive(Debug)]
struct Tail {
    what: String,
    begin: i64,
    end: i64,
    samples: usize,
}

// === impl Late ===

impl Late {
    /// Returns how many samples came since the look that ended where this one begins, and remembers
    /// what this one saw in its last `overlap` milliseconds.
    pub(super) fn note(
        &self,
        sides: [&Counted; 2],
        (begin, end): (i64, i64),
        overlap: i64,
        observed: &Observed<'_>,
    ) -> u64 {
        let [test, serving] = sides;
        let what = format!("{} {:?} {:?}", test.select, test.only, serving.only);
        let tail = Tail {
            what,
            begin: end.saturating_sub(overlap),
            end,
            samples: seen(observed, end.saturating_sub(overlap), end),
        };
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = looks.iter().find(|look| look.what == tail.what && look.end == begin);
        let late = before
            .map_or(0, |look| seen(observed, look.begin, look.end).saturating_sub(look.samples));
        if !looks.iter().any(|look| look.what == tail.what && look.end == end) {
            if looks.len() >= LOOKS_MAX {
                looks.remove(0);
            }
            looks.push(tail);
        }
        u64::try_from(late).unwrap_or(u64::MAX)
    }
}

/// How many samples of both sides lie in `(begin, end]`.
fn seen(observed: &Observed<'_>, begin: i64, end: i64) -> usize {
    let Observed { test, serving, .. } = observed;
    let sides = [&test.all, &test.bad, &serving.all, &serving.bad];
    sides.into_iter().flatten().map(|series| samples(series, begin, end)).sum()
}

fn samples(series: &Series, begin: i64, end: i64) -> usize {
    let inside = |at: i64| at > begin && at <= end;
    match &series.samples {
        Samples::Numbers(samples) => samples.iter().filter(|(at, _)| inside(*at)).count(),
        Samples::Histograms(samples) => samples.iter().filter(|(at, _)| inside(*at)).count(),
    }
}
