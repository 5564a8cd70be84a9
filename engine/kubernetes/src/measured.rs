//! What several engines measured in one attempt, put together, and no more of it than an object may hold. Pure.

use std::collections::BTreeMap;

use haldane_crds::AnalysisRunCheck;
use haldane_runtime::analysis_run::MEASUREMENTS_MAX;
use serde::Serialize;

/// How many bytes of measurements, or of journal entries, one object holds: an API server takes objects of 1.5 MB.
pub(crate) const BYTES_MAX: usize = 400_000;

/// What the engines before this one measured, by attempt: the newest two attempts.
#[derive(Debug, Default)]
pub(crate) struct Before(BTreeMap<u32, Vec<AnalysisRunCheck>>);

// === impl Before ===

impl Before {
    /// Returns what was measured of an attempt before this engine wrote of it; `there`: what its object shows now.
    pub(crate) fn of(
        &mut self,
        attempt: u32,
        there: impl FnOnce() -> Vec<AnalysisRunCheck>,
    ) -> Vec<AnalysisRunCheck> {
        let before = self.0.entry(attempt).or_insert_with(there).clone();
        while self.0.len() > 2 {
            self.0.pop_first();
        }
        before
    }
}

/// Adds what was measured now to what was measured before; the newest measurements are kept.
pub(crate) fn together(
    before: Vec<AnalysisRunCheck>,
    now: Vec<AnalysisRunCheck>,
) -> Vec<AnalysisRunCheck> {
    let mut all: BTreeMap<String, AnalysisRunCheck> =
        before.into_iter().map(|check| (check.name.clone(), check)).collect();
    for mut check in now {
        if let Some(old) = all.remove(&check.name) {
            for (word, count) in old.looks {
                *check.looks.entry(word).or_insert(0) += count;
            }
            let mut measurements = old.measurements;
            measurements.append(&mut check.measurements);
            let over = measurements.len().saturating_sub(MEASUREMENTS_MAX);
            check.measurements = measurements.split_off(over);
            check.older += old.older + over as u64;
        }
        all.insert(check.name.clone(), check);
    }
    all.into_values().collect()
}

/// Leaves the oldest measurements out, of each check alike, until all of them fit.
pub(crate) fn shorten(checks: &mut [AnalysisRunCheck]) {
    while size(checks) > BYTES_MAX && checks.iter().any(|check| !check.measurements.is_empty()) {
        for check in &mut *checks {
            let half = check.measurements.len().div_ceil(2);
            check.measurements.drain(..half);
            check.older += half as u64;
        }
    }
}

/// Returns the newest texts that fit, in their order.
pub(crate) fn newest(mut texts: Vec<String>) -> Vec<String> {
    let mut left = BYTES_MAX;
    let fits = |text: &&String| {
        let rest = left.checked_sub(text.len());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    let kept = texts.iter().rev().take_while(fits).count();
    texts.split_off(texts.len() - kept)
}

fn size(of: &(impl Serialize + ?Sized)) -> usize {
    serde_json::to_string(of).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(name: &str, measured: std::ops::Range<u64>, message: &str) -> AnalysisRunCheck {
        let at = |second: u64| format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
        let one = |second: u64| {
            json!({"at": at(second), "window": {"begin": at(0), "end": at(1)}, "verdict": "Pass",
                "value": second, "message": message})
        };
        let looks = measured.end - measured.start;
        let measured: Vec<Value> = measured.map(one).collect();
        let document = json!({"name": name, "verdict": "Pass", "looks": {"Pass": looks},
            "measurements": measured});
        serde_json::from_value(document).expect("it is a check")
    }

    fn values(check: &AnalysisRunCheck) -> Vec<u64> {
        check.measurements.iter().map(|one| one.value.unwrap_or(0.0) as u64).collect()
    }

    #[test]
    fn what_the_engine_before_measured_is_counted_once_and_the_newest_is_shown() {
        let mut before = Before::default();
        let there = before.of(3, || vec![check("errors", 0..40, ""), check("gone", 0..1, "")]);
        let all = together(there, vec![check("errors", 40..70, ""), check("new", 5..6, "")]);
        let names: Vec<&str> = all.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, ["errors", "gone", "new"]);
        assert_eq!((all[0].looks["Pass"], all[0].older), (70, 20));
        assert_eq!(values(&all[0]), (20..70).collect::<Vec<_>>());
        // What this engine wrote itself stands in the object by now; it is not taken for another's.
        let again = together(before.of(3, || all), vec![check("errors", 40..71, "")]);
        assert_eq!((again[0].looks["Pass"], again[0].older), (71, 21));
    }

    #[test]
    fn an_object_stays_small_whatever_is_said_in_it() {
        let long = "x".repeat(4_000);
        let mut checks: Vec<_> =
            (0..32).map(|number| check(&format!("check-{number}"), 0..50, &long)).collect();
        shorten(&mut checks);
        assert!(size(&checks) <= BYTES_MAX);
        for check in &checks {
            assert_eq!(check.older + check.measurements.len() as u64, 50);
            assert!(values(check).ends_with(&[49]), "the newest is kept");
        }
        let texts: Vec<String> = (0..256).map(|number| format!("{number:016000}")).collect();
        let kept = newest(texts.clone());
        assert_eq!(kept, texts[256 - BYTES_MAX / 16_000..]);
        assert_eq!(newest(kept.clone()), kept);
    }
}
